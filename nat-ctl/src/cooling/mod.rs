//! Tuples that rest after their session, beyond what the data path does by itself: made to rest toward
//! everybody, kept in a file that outlives the data path, and shown.
mod file;
mod snapshot;
mod store;
mod view;
mod widen;

pub use self::{
    file::encode,
    snapshot::{Boot, Sessions, Snapshot},
    store::{Store, this_boot},
    view::{CoolingView, each, views},
    widen::Widening,
};
