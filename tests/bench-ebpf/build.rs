//! Link arguments of the eBPF object.

fn main() {
    // IPv4 headers start 14 bytes into a frame, so their words are never aligned; without this
    // LLVM reads them byte by byte. Every kernel architecture whose verifier accepts it has cheap
    // unaligned access (CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS).
    println!("cargo:rustc-link-arg-bins=--cpu-features=+allows-misaligned-mem-access");
    println!("cargo:rerun-if-changed=build.rs");
}
