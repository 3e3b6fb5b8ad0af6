//! A disk image: master boot record, one partition, a ustar archive in it.
//!
//! ```text
//!  sector 0   partition table: one entry
//!  sector 1…  zeros up to the partition
//!  2048…      ustar archive: header, data, header, data, …, two sectors of zeros
//!  …end       zeros up to a whole MiB
//! ```
//!
//! The partition table is 16 bytes of fields and a signature; written here, it is shorter
//! than the call of a crate that would write it.
//!
//! Same members, same bytes: no time, owner or path of the building machine is in it.
//!
//! Not modelled: boot code, cylinders and heads (a reader must use the LBA fields).
//!
//! **Spec:** UEFI "Legacy Master Boot Record (MBR)"; POSIX pax "ustar Interchange Format".

use tar::{Builder, EntryType, Header};

use crate::recipe::Partition;

const SECTOR_BYTES: usize = 512;
const MIB: usize = 1024 * 1024;
const TABLE_OFFSET: usize = 446;
const SIGNATURE_OFFSET: usize = 510;
/// Cylinder, head and sector of anything that has to be found by its LBA.
const CHS_UNUSED: [u8; 3] = [0xfe, 0xff, 0xff];

/// A file of the archive.
pub(crate) struct Member {
    /// Its name.
    pub(crate) name: String,
    /// Its permission bits.
    pub(crate) mode: u32,
    /// What it holds.
    pub(crate) bytes: Vec<u8>,
}

/// The whole disk.
pub(crate) fn image(partition: &Partition, members: &[Member]) -> Vec<u8> {
    let mut disk = vec![0; sectors_to_bytes(partition.start_sector)];
    disk.extend(archive(members));
    disk.resize(disk.len().next_multiple_of(MIB), 0);
    let sectors = u32::try_from(disk.len() / SECTOR_BYTES).expect("a disk below 2 TiB");
    write_partition_table(&mut disk, partition, sectors);
    disk
}

fn sectors_to_bytes(sectors: u32) -> usize {
    usize::try_from(sectors).expect("usize has 32 bits at least") * SECTOR_BYTES
}

/// Puts the table's only entry and the signature into the first sector.
fn write_partition_table(disk: &mut [u8], partition: &Partition, disk_sectors: u32) {
    let start = partition.start_sector;
    let mut entry = [0; 16];
    entry[1..4].copy_from_slice(&CHS_UNUSED);
    entry[4] = partition.kind;
    entry[5..8].copy_from_slice(&CHS_UNUSED);
    entry[8..12].copy_from_slice(&start.to_le_bytes());
    entry[12..16].copy_from_slice(&(disk_sectors - start).to_le_bytes());
    disk[TABLE_OFFSET..TABLE_OFFSET + entry.len()].copy_from_slice(&entry);
    disk[SIGNATURE_OFFSET..SECTOR_BYTES].copy_from_slice(&[0x55, 0xaa]);
}

fn archive(members: &[Member]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for member in members {
        let appended = builder.append(&header(member), &member.bytes[..]);
        appended.expect("writing to memory does not fail");
    }
    builder
        .into_inner()
        .expect("writing to memory does not fail")
}

fn header(member: &Member) -> Header {
    let mut header = Header::new_ustar();
    let named = header.set_path(&member.name);
    named.unwrap_or_else(|e| panic!("{} is no name for ustar: {e}", member.name));
    header.set_entry_type(EntryType::Regular);
    header.set_size(member.bytes.len() as u64);
    header.set_mode(member.mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    header
}
