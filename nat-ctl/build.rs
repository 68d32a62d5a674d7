//! Puts the eBPF object of nat-ebpf into `$OUT_DIR/nat.o`; docs/building.md tells where it comes from.

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use std::{env, io};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Relative to the workspace root whatever CARGO_TARGET_DIR is, so that one set-up serves all builds.
const RECORD: &str = "target/ebpf-toolchain";

/// Set by the outer cargo or rustup for the host's compiler, wrong for the nested build.
const HOST_ONLY_ENV: [&str; 9] = [
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTC",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

enum Compiler {
    Rustc(PathBuf),
    Toolchain(String),
}

fn main() -> Result<()> {
    let object = PathBuf::from(env::var("OUT_DIR")?).join("nat.o");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");

    // All switches are read here, so that cargo watches each of them whichever is used.
    let finished = switch("NAT_EBPF_OBJECT");
    let rustc = switch("NAT_EBPF_RUSTC").map(|path| Compiler::Rustc(path.into()));
    let toolchain = switch("NAT_EBPF_TOOLCHAIN").map(Compiler::Toolchain);

    if let Some(path) = finished {
        // A relative path is meant from where cargo was called, most likely the workspace root.
        let path = root.join(path);
        println!("cargo:rerun-if-changed={}", path.display());
        fs::copy(&path, &object)
            .map_err(|err| format!("NAT_EBPF_OBJECT: cannot copy {}: {err}", path.display()))?;
        return Ok(());
    }

    watch_sources(&root);
    let compiler = match rustc.or(toolchain) {
        Some(compiler) => Some(compiler),
        None => recorded(&root.join(RECORD))?,
    };
    let Some(compiler) = compiler else {
        println!(
            "cargo:warning=no eBPF compiler is set up: this nat-ctl has no data path. \
             Run `cargo xtask setup` and build again."
        );
        fs::write(&object, [])?;
        return Ok(());
    };
    fs::copy(compile(&compiler, &root)?, &object)?;
    Ok(())
}

/// An environment variable; set to the empty string it counts as unset.
fn switch(name: &str) -> Option<String> {
    println!("cargo:rerun-if-env-changed={name}");
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn watch_sources(root: &Path) {
    let sources =
        ["nat-ebpf/src", "nat-ebpf/Cargo.toml", "nat-common/src", "nat-common/Cargo.toml"];
    // Cargo reruns this script for ever if a watched file does not exist.
    for path in sources.iter().chain(&["Cargo.toml", "Cargo.lock"]).map(|path| root.join(path)) {
        if path.exists() {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
}

/// What `cargo xtask setup` wrote down, if it ever ran.
fn recorded(record: &Path) -> Result<Option<Compiler>> {
    // An empty record stands for "no set-up yet": cargo can watch only a file that exists, and the
    // file must look older than this run of the script. Where the tree is read-only nobody runs
    // the set-up either.
    let created = record
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| OpenOptions::new().write(true).create_new(true).open(record));
    if let Ok(file) = created {
        file.set_modified(SystemTime::UNIX_EPOCH)?;
    }
    let text = match fs::read_to_string(record) {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(format!("cannot read {}: {err}", record.display()).into()),
    };
    println!("cargo:rerun-if-changed={}", record.display());

    match text.trim().split_once('=') {
        Some(("rustc", path)) => Ok(Some(Compiler::Rustc(path.into()))),
        Some(("toolchain", name)) => Ok(Some(Compiler::Toolchain(name.into()))),
        None if text.trim().is_empty() => Ok(None),
        _ => {
            let record = record.display();
            Err(format!("cannot understand {record}; delete it and run `cargo xtask setup`").into())
        }
    }
}

/// Runs cargo for nat-ebpf and returns where the object is.
fn compile(compiler: &Compiler, root: &Path) -> Result<PathBuf> {
    let (mut cargo, name) = match compiler {
        Compiler::Rustc(rustc) => {
            let cargo = Command::new(rustc.with_file_name("cargo"));
            (cargo, rustc.display().to_string())
        }
        Compiler::Toolchain(name) => {
            let mut rustup = Command::new("rustup");
            rustup.args(["run", name, "cargo"]);
            (rustup, format!("the rustup toolchain {name}"))
        }
    };
    for variable in HOST_ONLY_ENV {
        cargo.env_remove(variable);
    }
    if let Compiler::Rustc(rustc) = compiler {
        // build-std and the BPF target are nightly features; a distribution has a stable compiler.
        cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
    }

    let target = match env::var("CARGO_CFG_TARGET_ENDIAN")?.as_str() {
        "big" => "bpfeb-unknown-none",
        _ => "bpfel-unknown-none",
    };
    let arch = format!("--cfg=bpf_target_arch=\"{}\"", env::var("CARGO_CFG_TARGET_ARCH")?);
    let flags = ["-Cdebuginfo=2", "-Clink-arg=--btf", "-Ctarget-cpu=v3", &arch].join("\x1f");
    // The outer cargo holds the lock of its own target folder.
    let target_dir = PathBuf::from(env::var("OUT_DIR")?).join("ebpf-target");

    cargo
        .current_dir(root)
        .env("PATH", path_with_bpf_linker()?)
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env("CARGO_BUILD_BUILD_DIR", &target_dir)
        .args(["build", "-p", "nat-ebpf", "--bin", "nat", "--release"])
        .args(["--target", target, "-Z", "build-std=core", "--target-dir"])
        .arg(&target_dir);
    if root.join("Cargo.lock").exists() {
        cargo.arg("--locked");
    }
    let status = cargo.status().map_err(|err| {
        let program = cargo.get_program().display();
        format!("cannot start {program} ({err}), the eBPF compiler; run `cargo xtask setup`")
    })?;
    if !status.success() {
        return Err(format!(
            "nat-ebpf did not build with {name} (messages above). If the source is not at fault: \
             this needs bpf-linker and the sources of core, `cargo xtask setup` checks both"
        )
        .into());
    }
    Ok(target_dir.join(target).join("release/nat"))
}

/// `cargo install` puts bpf-linker into CARGO_HOME/bin, which need not be on the user's PATH.
fn path_with_bpf_linker() -> Result<OsString> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let path = env::var_os("PATH").unwrap_or_default();
    let bin = cargo_home.map(|home| home.join("bin"));
    let dirs = env::split_paths(&path).chain(bin);
    Ok(env::join_paths(dirs)?)
}
