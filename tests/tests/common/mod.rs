//! What the tests of layer 2 share.
pub mod bench;
pub mod fragments;
pub mod frames;
pub mod lifetime;
pub mod test_run;
