//! An anonymous network namespace, held by a file descriptor.
//!
//! A namespace made by `ip netns add` is a mount that stays behind when a test is killed. This one
//! lives as long as the descriptor or a process inside it: the kernel removes it with the process.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    panic,
    path::PathBuf,
    process::{self, Command},
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace with only a loopback device, which is up.
#[derive(Debug)]
pub struct NetNs {
    fd: OwnedFd,
}

impl NetNs {
    /// Creates a namespace.
    ///
    /// A thread of its own does it, because unshare() moves the calling thread and there is no way
    /// to move a test's thread reliably back after a panic.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "needs root and creates a kernel object")]
    pub fn new() -> Self {
        let fd = on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("unshare(CLONE_NEWNET): the laboratory needs root");
            File::open("/proc/thread-self/ns/net").expect("open the new network namespace")
        });
        let namespace = Self { fd: fd.into() };
        // Off before any device comes up: router solicitations and the like would only be noise in
        // captures.
        namespace.sysctl("net/ipv6/conf/all/disable_ipv6", "1");
        namespace.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        super::process::ip(&namespace, "link set lo up\n");
        namespace
    }

    /// Runs `f` on a fresh thread inside the namespace and hands its result (or panic) back.
    ///
    /// Sockets stay in the namespace in which they were created, so they can be returned from here
    /// and used anywhere. Child processes that are to live longer than `f` must not be started
    /// here, they would be killed with the thread: see [`super::process::die_with_parent`].
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        on_own_thread(|| {
            setns(&self.fd, CloneFlags::CLONE_NEWNET).expect("setns into a network namespace");
            f()
        })
    }

    /// A command whose process runs inside the namespace.
    ///
    /// Only the network namespace changes: unlike with `ip netns exec`, /sys and therefore a bpffs
    /// stay as they are.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let fd = self.fd.try_clone().expect("duplicate a namespace descriptor");
        let mut command = Command::new(program);
        // SAFETY: the closure runs between fork and exec, where only async-signal-safe functions
        // are allowed; it makes one system call and allocates nothing (io::Error from an errno does
        // not allocate either).
        unsafe {
            command.pre_exec(move || {
                setns(&fd, CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from)
            });
        }
        command
    }

    /// A path under which other processes can open the namespace while this one lives:
    /// `nat-ctl --netns PATH`, `ip link set X netns PATH`, `nsenter --net=PATH`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", process::id(), self.fd.as_raw_fd()))
    }

    /// Sets a network sysctl, named by its path below /proc/sys.
    pub fn sysctl(&self, key: &str, value: &str) {
        // /proc/sys/net shows the namespace of the thread that opens it.
        self.enter(|| fs::write(format!("/proc/sys/{key}"), value))
            .unwrap_or_else(|error| panic!("sysctl {key}={value}: {error}"));
    }

    /// Reads a network sysctl, named by its path below /proc/sys.
    #[must_use]
    pub fn read_sysctl(&self, key: &str) -> String {
        self.enter(|| fs::read_to_string(format!("/proc/sys/{key}")))
            .unwrap_or_else(|error| panic!("read sysctl {key}: {error}"))
            .trim_end()
            .to_owned()
    }
}

/// Runs `f` on a thread of its own; a panic goes on in the caller, with its message.
fn on_own_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| match scope.spawn(f).join() {
        Ok(value) => value,
        Err(payload) => panic::resume_unwind(payload),
    })
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, process::Command, time::Duration};

    use super::*;
    use crate::lab::process::run;

    const LIMIT: Duration = Duration::from_secs(5);

    #[test]
    fn a_socket_stays_in_the_namespace_where_it_was_made() {
        let (one, other) = (NetNs::new(), NetNs::new());
        let listener = one.enter(|| TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        one.enter(|| std::net::TcpStream::connect(address)).unwrap();
        other.enter(|| std::net::TcpStream::connect(address)).unwrap_err();
    }

    #[test]
    fn another_process_can_enter_by_path() {
        let namespace = NetNs::new();
        let inside = run(namespace.command("readlink").arg("/proc/self/ns/net"), LIMIT).ok();
        let by_path = run(
            Command::new("nsenter")
                .arg(format!("--net={}", namespace.path().display()))
                .args(["readlink", "/proc/self/ns/net"]),
            LIMIT,
        )
        .ok();
        let here = fs::read_link("/proc/thread-self/ns/net").unwrap();
        assert_eq!(inside, by_path);
        assert_ne!(inside.trim(), here.to_str().unwrap());
    }

    #[test]
    fn sysctls_are_those_of_the_namespace() {
        let (one, other) = (NetNs::new(), NetNs::new());
        one.sysctl("net/ipv4/ip_forward", "1");
        other.sysctl("net/ipv4/ip_forward", "0");
        assert_eq!(one.read_sysctl("net/ipv4/ip_forward"), "1");
    }

    #[test]
    #[should_panic(expected = "seen outside")]
    fn a_panic_inside_is_seen_outside() {
        NetNs::new().enter(|| panic!("seen outside"));
    }
}
