//! Tuples that rest after their session, beyond what the data path does by itself. Pure.
mod widen;

pub use widen::Widening;
