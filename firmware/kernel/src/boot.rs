//! The kernel's first steps on each CPU.

use crate::console::println;
use crate::{archive, block, cmdline, console, exec, file, memory, process, sched, smp, time};
use metal::{BootInfo, apic};

/// On the CPU that booted: everything, then the first program.
pub(crate) fn first_cpu(info: &'static BootInfo) -> ! {
    console::init();
    let options = cmdline::parse(info.cmdline());
    memory::init(info, options.policy);
    smp::start_others(options.cpus);
    let total = memory::with(|mem| mem.frames.total());
    println!(
        "kernel: CPUs {}, memory {} MiB, policy {}",
        smp::online(),
        total / 256,
        options.policy.name
    );
    let sectors = block::init();
    let files = archive::init();
    println!("kernel: disk {sectors} sectors, files {files}");
    let program = exec::load(&options.init, &options.args)
        .unwrap_or_else(|error| panic!("init={}: errno {}", options.init, error.0));
    process::spawn(
        0,
        options.init,
        file::Files::console(),
        program.space,
        program.frame,
    )
    .expect("the first process finds a kernel stack");
    apic::start_timer(time::TICK_US);
    sched::idle_loop()
}

/// On every other CPU.
pub(crate) fn started_cpu() -> ! {
    smp::arrive();
    apic::start_timer(time::TICK_US);
    sched::idle_loop()
}
