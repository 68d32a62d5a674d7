//! Empty: the programs are in `main.rs`. A library target lets cargo name this crate as a
//! dependency.
#![no_std]
