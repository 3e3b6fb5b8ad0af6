//! The local APIC as a kernel programs it.

use super::ipi::Delivery;
use super::*;
use x86::apic::{ICR_ASSERT, ICR_LEVEL, delivery, shorthand};

fn enabled(id: u8) -> LocalApic {
    let mut apic = LocalApic::new(id, 10);
    assert_eq!(apic.write(0, reg::SVR, SVR_ENABLE | 0xff), None);
    apic
}

fn set(apic: &mut LocalApic, offset: u64, value: u32) {
    assert_eq!(apic.write(0, offset, value), None, "{offset:#x}");
}

#[test]
fn after_reset_it_is_disabled_with_all_entries_masked() {
    let apic = LocalApic::new(3, 1);
    assert_eq!(apic.read(0, reg::ID), 3 << 24);
    assert_eq!(
        (apic.read(0, reg::VERSION), apic.read(0, reg::SVR)),
        (0x0005_0014, 0xff)
    );
    assert_eq!(
        (apic.read(0, reg::DFR), apic.read(0, reg::LDR)),
        (u32::MAX, 0)
    );
    for lvt in [
        reg::LVT_TIMER,
        reg::LVT_THERMAL,
        reg::LVT_PMC,
        reg::LVT_LINT0,
        reg::LVT_LINT1,
        reg::LVT_ERROR,
    ] {
        assert_eq!(apic.read(0, lvt), LVT_MASKED, "{lvt:#x}");
    }
}

#[test]
fn while_it_is_disabled_nothing_is_accepted_and_no_mask_can_be_cleared() {
    let mut apic = LocalApic::new(0, 1);
    apic.deliver(0x40, Trigger::Edge);
    set(&mut apic, reg::LVT_TIMER, 0x40);
    assert_eq!(
        (apic.pending(), apic.read(0, reg::LVT_TIMER)),
        (None, LVT_MASKED | 0x40)
    );
    set(&mut apic, reg::SVR, SVR_ENABLE);
    set(&mut apic, reg::LVT_TIMER, 0x40);
    assert_eq!(apic.read(0, reg::LVT_TIMER), 0x40);
    set(&mut apic, reg::SVR, 0);
    assert_eq!(apic.read(0, reg::LVT_TIMER), LVT_MASKED | 0x40);
}

/// For every TPR, vector in service and vector requested: is the request taken?
#[test]
fn a_request_is_taken_exactly_when_its_class_is_above_task_and_service() {
    for tpr in (0..=255_u8).step_by(7) {
        for in_service in [None, Some(0x31_u8), Some(0x75), Some(0xff)] {
            for vector in 16..=255_u8 {
                let mut apic = enabled(0);
                if let Some(v) = in_service {
                    apic.deliver(v, Trigger::Edge);
                    assert_eq!(apic.acknowledge(), v);
                }
                set(&mut apic, reg::TPR, tpr.into());
                apic.deliver(vector, Trigger::Edge);
                let class = (tpr / 16).max(in_service.unwrap_or(0) / 16);
                let taken = vector / 16 > class;
                assert_eq!(
                    apic.pending(),
                    taken.then_some(vector),
                    "{tpr:#x} {in_service:x?} {vector:#x}"
                );
            }
        }
    }
}

#[test]
fn ppr_is_tpr_unless_a_higher_class_is_in_service() {
    let mut apic = enabled(0);
    set(&mut apic, reg::TPR, 0x35);
    assert_eq!(apic.read(0, reg::PPR), 0x35);
    apic.deliver(0x47, Trigger::Edge);
    assert_eq!(apic.acknowledge(), 0x47);
    assert_eq!(apic.read(0, reg::PPR), 0x40);
    set(&mut apic, reg::TPR, 0x4a);
    assert_eq!(apic.read(0, reg::PPR), 0x4a);
}

#[test]
fn eoi_ends_the_highest_vector_in_service() {
    let mut apic = enabled(0);
    apic.deliver(0x30, Trigger::Edge);
    assert_eq!(apic.acknowledge(), 0x30);
    apic.deliver(0x50, Trigger::Edge);
    assert_eq!(apic.acknowledge(), 0x50);
    apic.deliver(0x40, Trigger::Edge);
    assert_eq!(apic.pending(), None);
    assert_eq!(apic.read(0, reg::ISR0 + 0x10), 1 << 16);
    assert_eq!(apic.read(0, reg::ISR0 + 0x20), 1 << 16);
    set(&mut apic, reg::EOI, 0);
    assert_eq!(apic.pending(), Some(0x40));
    set(&mut apic, reg::EOI, 0);
    assert_eq!(apic.read(0, reg::ISR0 + 0x10), 0);
    set(&mut apic, reg::EOI, 0);
}

#[test]
fn an_interrupt_withdrawn_by_tpr_gives_the_spurious_vector_and_stays_requested() {
    let mut apic = LocalApic::new(0, 1);
    set(&mut apic, reg::SVR, SVR_ENABLE | 0xef);
    apic.deliver(0x40, Trigger::Edge);
    apic.set_task_priority_class(15);
    assert_eq!(apic.acknowledge(), 0xef);
    assert_eq!(apic.read(0, reg::ISR0 + 0x10 * 7), 0);
    assert_eq!(apic.read(0, reg::IRR0 + 0x20), 1);
    assert_eq!(
        (apic.read(0, reg::TPR), apic.task_priority_class()),
        (0xf0, 15)
    );
}

#[test]
fn a_vector_below_sixteen_is_an_error_that_esr_shows_after_it_is_written() {
    let mut apic = enabled(0);
    set(&mut apic, reg::LVT_ERROR, 0x33);
    apic.deliver(15, Trigger::Edge);
    assert_eq!((apic.pending(), apic.read(0, reg::ESR)), (Some(0x33), 0));
    set(&mut apic, reg::ICR_LOW, 3);
    set(&mut apic, reg::ESR, 0);
    assert_eq!(
        apic.read(0, reg::ESR),
        ESR_SEND_ILLEGAL | ESR_RECEIVE_ILLEGAL
    );
    set(&mut apic, reg::ESR, 0);
    assert_eq!(apic.read(0, reg::ESR), 0);
}

#[test]
fn what_is_written_to_icr_is_what_is_sent() {
    use Delivery::{Fixed, Init, Nmi, Startup};
    use Destination::{All, Logical, Others, Physical, Sender};
    let mode = |m: u32| m << 8;
    let to = |s: u32| s << 18;
    for (low, high, ipi) in [
        (0x41, 2, Some((Fixed(0x41), Physical(2)))),
        (0x41 | 1 << 11, 6, Some((Fixed(0x41), Logical(6)))),
        (0x41 | to(shorthand::SELF), 9, Some((Fixed(0x41), Sender))),
        (0x41 | to(shorthand::ALL), 9, Some((Fixed(0x41), All))),
        (0x41 | to(shorthand::OTHERS), 9, Some((Fixed(0x41), Others))),
        (mode(delivery::NMI), 1, Some((Nmi, Physical(1)))),
        (
            mode(delivery::INIT) | ICR_ASSERT,
            1,
            Some((Init, Physical(1))),
        ),
        (
            mode(delivery::INIT) | ICR_ASSERT | ICR_LEVEL,
            1,
            Some((Init, Physical(1))),
        ),
        (mode(delivery::INIT) | ICR_LEVEL, 1, None),
        (
            mode(delivery::STARTUP) | 8,
            1,
            Some((Startup(8), Physical(1))),
        ),
        (mode(2), 1, None),
        (mode(7), 1, None),
    ] {
        let mut apic = enabled(0);
        set(&mut apic, reg::ICR_HIGH, high << 24);
        let sent = apic
            .write(0, reg::ICR_LOW, low)
            .map(|i| (i.delivery, i.destination));
        assert_eq!(sent, ipi, "{low:#x}");
        // Delivery status: never pending.
        assert_eq!(apic.read(0, reg::ICR_LOW) & x86::apic::ICR_PENDING, 0);
    }
}

#[test]
fn destinations_match_as_the_manual_says() {
    let mut apic = enabled(2);
    set(&mut apic, reg::LDR, 0b100 << 24);
    for (destination, sender, hit) in [
        (Destination::Physical(2), 0, true),
        (Destination::Physical(1), 0, false),
        (Destination::Physical(0xff), 0, true),
        (Destination::Logical(0b110), 0, true),
        (Destination::Logical(0b011), 0, false),
        (Destination::All, 2, true),
        (Destination::Others, 2, false),
        (Destination::Others, 0, true),
        (Destination::Sender, 2, true),
        (Destination::Sender, 0, false),
    ] {
        assert_eq!(
            apic.is_addressed(destination, sender),
            hit,
            "{destination:?} from {sender}"
        );
    }
    set(&mut apic, reg::DFR, 0);
    set(&mut apic, reg::LDR, 0x32 << 24);
    for (mda, hit) in [
        (0x32, true),
        (0x33, true),
        (0x31, false),
        (0x22, false),
        (0xf2, true),
    ] {
        assert_eq!(
            apic.is_addressed(Destination::Logical(mda), 0),
            hit,
            "{mda:#x}"
        );
    }
}

#[test]
fn a_message_to_feexxxxx_is_for_an_apic_and_others_are_not() {
    let ipi = Ipi::from_message(0xfee0_3000, 0x52).unwrap();
    assert_eq!(
        (ipi.delivery, ipi.destination),
        (Delivery::Fixed(0x52), Destination::Physical(3))
    );
    let ipi = Ipi::from_message(0xfee0_300c, 0x152).unwrap();
    assert_eq!(
        (ipi.delivery, ipi.destination),
        (Delivery::LowestPriority(0x52), Destination::Logical(3))
    );
    assert_eq!(Ipi::from_message(0xfed0_0000, 0x52), None);
    assert_eq!(Ipi::from_message(0x1_fee0_0000, 0x52), None);
}

/// Divide register and divisor.
const DIVIDES: [(u32, u64); 8] = [
    (0b0000, 2),
    (0b0001, 4),
    (0b0010, 8),
    (0b0011, 16),
    (0b1000, 32),
    (0b1001, 64),
    (0b1010, 128),
    (0b1011, 1),
];

#[test]
fn a_one_shot_timer_fires_once_after_count_times_divisor() {
    for (divide, divisor) in DIVIDES {
        let mut apic = enabled(0);
        set(&mut apic, reg::TIMER_DIVIDE, divide);
        set(&mut apic, reg::LVT_TIMER, 0x60);
        assert_eq!(apic.write(1000, reg::TIMER_INITIAL, 7), None);
        let due = 1000 + 7 * divisor * 10;
        assert_eq!(apic.next_event(), Some(due), "{divisor}");
        assert_eq!(apic.read(due - 1, reg::TIMER_CURRENT), 1);
        apic.advance(due - 1);
        assert_eq!(apic.pending(), None);
        apic.advance(due);
        assert_eq!(apic.acknowledge(), 0x60);
        assert_eq!(
            (apic.read(due, reg::TIMER_CURRENT), apic.next_event()),
            (0, None)
        );
        apic.advance(u64::MAX);
        set(&mut apic, reg::EOI, 0);
        assert_eq!(apic.pending(), None);
    }
}

#[test]
fn a_periodic_timer_fires_again_and_again_at_the_same_distance() {
    let mut apic = enabled(0);
    set(&mut apic, reg::TIMER_DIVIDE, 0b1011);
    set(&mut apic, reg::LVT_TIMER, LVT_TIMER_PERIODIC | 0x60);
    set(&mut apic, reg::TIMER_INITIAL, 5);
    for n in 1..4 {
        assert_eq!(apic.next_event(), Some(50 * n));
        apic.advance(50 * n);
        assert_eq!(apic.acknowledge(), 0x60);
        assert_eq!(apic.write(50 * n, reg::EOI, 0), None);
    }
    // Late by three and a half periods: one interrupt, and the beat is kept.
    apic.advance(150 + 175);
    assert_eq!((apic.acknowledge(), apic.next_event()), (0x60, Some(350)));
    assert_eq!(apic.read(325, reg::TIMER_CURRENT), 3);
    // Read before anyone advanced it: two periods and 20 ticks later.
    assert_eq!(apic.read(300 + 120, reg::TIMER_CURRENT), 3);
}

#[test]
fn a_masked_timer_counts_and_is_silent() {
    let mut apic = enabled(0);
    set(&mut apic, reg::TIMER_DIVIDE, 0b1011);
    set(&mut apic, reg::TIMER_INITIAL, 100);
    assert_eq!(
        (apic.next_event(), apic.read(500, reg::TIMER_CURRENT)),
        (None, 50)
    );
    apic.advance(2000);
    assert_eq!(apic.pending(), None);
    set(&mut apic, reg::LVT_TIMER, 0x60);
    assert_eq!(apic.next_event(), None);
}

#[test]
fn writing_zero_stops_the_timer_and_a_new_divisor_keeps_the_count() {
    let mut apic = enabled(0);
    set(&mut apic, reg::LVT_TIMER, 0x60);
    set(&mut apic, reg::TIMER_DIVIDE, 0b1011);
    set(&mut apic, reg::TIMER_INITIAL, 100);
    assert_eq!(apic.write(400, reg::TIMER_DIVIDE, 0b0000), None);
    assert_eq!(
        (apic.read(400, reg::TIMER_CURRENT), apic.next_event()),
        (60, Some(400 + 60 * 20))
    );
    assert_eq!(apic.write(500, reg::TIMER_INITIAL, 0), None);
    assert_eq!(
        (apic.next_event(), apic.read(9999, reg::TIMER_CURRENT)),
        (None, 0)
    );
}

#[test]
fn init_brings_all_but_the_id_back_to_reset() {
    let mut apic = enabled(5);
    apic.deliver(0x40, Trigger::Edge);
    set(&mut apic, reg::TPR, 0x20);
    apic.reset();
    assert_eq!(
        (apic.id(), apic.pending(), apic.read(0, reg::TPR)),
        (5, None, 0)
    );
    assert_eq!(apic.read(0, reg::SVR), 0xff);
}

#[test]
fn no_access_at_any_time_panics() {
    let mut apic = LocalApic::new(1, 0);
    let mut seed = 3_u64;
    let mut now = 0_u64;
    for round in 0..200_000 {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let value = (seed >> 32) as u32;
        let offset = (seed >> 20 & 0xfff) & if round % 4 == 0 { !0 } else { !0xf };
        let _ = apic.write(now, offset, value);
        let _ = apic.read(now, offset);
        apic.deliver(value.to_le_bytes()[0], Trigger::Edge);
        apic.advance(now);
        let _ = apic.acknowledge();
        now = if round % 1000 == 999 {
            u64::MAX
        } else {
            now.saturating_add(seed >> 50)
        };
        if round % 1000 == 0 {
            now = seed >> 30;
        }
    }
}
