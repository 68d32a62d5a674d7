//! Child processes: bounded in time, never outliving the test.

use std::{
    fs::File,
    io::{Read as _, Seek as _, Write as _},
    os::{
        fd::{AsFd as _, FromRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::sys::signal::SigSet;

use super::{netns::NetNs, wait};

/// For tools that answer at once: far more than they need on a busy machine.
const TOOL_LIMIT: Duration = Duration::from_secs(20);

/// A process that has ended.
#[derive(Debug)]
pub struct Finished {
    pub command: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// The standard output of a successful process; panics with everything it said otherwise.
    #[must_use]
    pub fn ok(self) -> String {
        assert!(self.status.success(), "{self}");
        self.stdout
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, status, stdout, stderr } = self;
        write!(f, "{command}\n{status}\nstdout:\n{stdout}\nstderr:\n{stderr}")
    }
}

/// Runs a process to its end; panics, after killing it, when that takes longer than `limit`.
pub fn run(command: &mut Command, limit: Duration) -> Finished {
    run_with_input(command, "", limit)
}

/// Like [`run`], with something to read on standard input.
pub fn run_with_input(command: &mut Command, input: &str, limit: Duration) -> Finished {
    let mut file = tempfile::tempfile().expect("create a temporary file");
    file.write_all(input.as_bytes()).and_then(|()| file.rewind()).expect("prepare an input");
    run_from(command, file, limit)
}

/// Like [`run`], with a file as standard input.
///
/// Input and output are files: unlike pipes these can neither block the process nor be kept open by
/// its descendants.
pub fn run_from(command: &mut Command, input: File, limit: Duration) -> Finished {
    let scratch = || tempfile::tempfile().expect("create a temporary file");
    let duplicate = |file: &File| file.try_clone().expect("duplicate a descriptor");
    let (stdout, stderr) = (scratch(), scratch());
    command.stdin(input).stdout(duplicate(&stdout)).stderr(duplicate(&stderr));
    unblock_signals(command);
    die_with_parent(command);

    let line = command_line(command);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
    let status = wait_exit(&mut child, limit);
    if status.is_none() {
        kill(&mut child);
    }
    let (stdout, stderr) = (content(stdout), content(stderr));
    let Some(status) = status else {
        panic!("{line}\nstill running after {limit:?}, killed\n{stdout}\n{stderr}");
    };
    Finished { command: line, status, stdout, stderr }
}

fn content(mut file: File) -> String {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("read a process's output");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The program and its arguments, for messages.
#[must_use]
pub fn command_line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

/// Lets the process receive every signal: it would inherit what its starter blocks, and a program that
/// handles its own signals by signalfd blocks them.
fn unblock_signals(command: &mut Command) {
    // SAFETY: the closure runs between fork and exec and calls only sigemptyset and pthread_sigmask,
    // which are async-signal-safe.
    unsafe {
        command.pre_exec(|| SigSet::empty().thread_set_mask().map_err(std::io::Error::from));
    }
}

/// Makes the kernel kill the process when the *thread* that starts it ends, however that happens.
///
/// With the test harness that is the test's own thread, so nothing outlives a test. Do not start a
/// long-lived process from a short-lived thread such as [`NetNs::enter`]'s.
pub fn die_with_parent(command: &mut Command) {
    // SAFETY: the closure runs between fork and exec and makes one system call on integers, which
    // is async-signal-safe.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

/// Waits for the end of a process. `None` when the time is up.
pub fn wait_exit(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    // SAFETY: pidfd_open takes two integers and no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
    assert!(fd >= 0, "pidfd_open: {}", std::io::Error::last_os_error());
    let fd = i32::try_from(fd).expect("a descriptor is an int");
    // SAFETY: the kernel has just handed this descriptor out and nothing else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let [ended] = wait::readable([fd.as_fd()], limit);
    ended.then(|| child.wait().expect("reap a process that has ended"))
}

/// Ends a process at once and reaps it.
pub fn kill(child: &mut Child) {
    // An error means that it has been reaped already.
    let _ = child.kill();
    let _ = child.wait();
}

/// Runs a batch of `ip` commands (without the word `ip`) in a namespace.
pub fn ip(namespace: &NetNs, batch: &str) {
    let finished = run_with_input(namespace.command("ip").args(["-batch", "-"]), batch, TOOL_LIMIT);
    assert!(finished.status.success(), "{batch}{finished}");
}

/// Runs a tool in a namespace and returns its standard output; panics if it fails.
pub fn tool(namespace: &NetNs, program: &str, arguments: &[&str]) -> String {
    run(namespace.command(program).args(arguments), TOOL_LIMIT).ok()
}

/// Like [`tool`], with something to read on standard input.
pub fn tool_with_input(
    namespace: &NetNs,
    program: &str,
    arguments: &[&str],
    input: &str,
) -> String {
    run_with_input(namespace.command(program).args(arguments), input, TOOL_LIMIT).ok()
}

/// For a long-running child: its output as pipes, nothing to read, and an end with the test.
pub fn prepare_background(command: &mut Command) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    unblock_signals(command);
    die_with_parent(command);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "still running after")]
    fn a_process_that_hangs_is_killed() {
        run(Command::new("sleep").arg("60"), Duration::from_millis(50));
    }

    #[test]
    fn signals_blocked_here_are_not_blocked_there() {
        let signals: SigSet = [nix::sys::signal::Signal::SIGTERM].into_iter().collect();
        signals.thread_block().unwrap();
        let mut grep = Command::new("grep");
        let blocked = run(grep.args(["SigBlk", "/proc/self/status"]), Duration::from_secs(5)).ok();
        assert_eq!(blocked.trim(), "SigBlk:\t0000000000000000");
    }

    #[test]
    fn output_input_and_status_are_kept() {
        let finished = run_with_input(
            Command::new("sh").args(["-c", "cat; echo bad >&2; exit 3"]),
            "good",
            Duration::from_secs(5),
        );
        assert_eq!(finished.stdout, "good");
        assert_eq!(finished.stderr, "bad\n");
        assert_eq!(finished.status.code(), Some(3));
    }
}
