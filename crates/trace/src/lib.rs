//! What happened, in order: events of the machine and where they go.
//!
//! An event is emitted once, where it happens, by whoever makes it happen. With
//! no sink attached an emission is one predicted branch on a rare path
//! (faults, walks, device accesses, never plain instructions).

mod event;
mod sink;

pub use event::{Direction, Event, Source};
pub use sink::{Memory, Sink, Text, Tracer};
