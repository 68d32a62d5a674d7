//! The program under test, started and asked as a user would.

use std::{
    env,
    io::{BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
    process::{self, Child, Command, ExitStatus},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    bpffs::BpfFs,
    netns::NetNs,
    process::{Finished, command_line, prepare_background, run, wait_exit},
};

/// Loading and verifying the programs takes its time on a small machine.
const READY_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const COMMAND_LIMIT: Duration = Duration::from_secs(20);

/// An instance of nat-ctl: where it runs, where its pins are, what it is called.
#[derive(Clone, Debug)]
pub struct NatCtl {
    binary: PathBuf,
    netns: PathBuf,
    bpffs: PathBuf,
    instance: String,
    state: Arc<TempDir>,
}

impl NatCtl {
    /// An instance with a name that no other test on this machine has, as the control socket is
    /// found by it.
    #[must_use]
    pub fn new(gateway: &NetNs, bpffs: &BpfFs) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            binary: find_binary().unwrap_or_else(|error| panic!("{error}")),
            netns: gateway.path(),
            bpffs: bpffs.path(),
            instance: format!("lab-{}-{count}", process::id()),
            state: Arc::new(tempfile::tempdir().expect("make a folder")),
        }
    }

    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The file in which ports outlive the data path that cool.
    #[must_use]
    pub fn cooling_file(&self) -> PathBuf {
        self.state.path().join(format!("{}.cooling", self.instance))
    }

    /// `nat-ctl --netns … --bpffs … --state-dir … --instance … ARGUMENTS`
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--netns").arg(&self.netns).arg("--bpffs").arg(&self.bpffs);
        command.arg("--state-dir").arg(self.state.path());
        command.args(["--instance", &self.instance]).args(arguments);
        command
    }

    /// Runs a command to its end, whatever its exit code.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        run(&mut self.command(arguments), COMMAND_LIMIT)
    }

    /// What a command prints for people; panics if it fails.
    #[must_use]
    pub fn text(&self, arguments: &[&str]) -> String {
        self.run(&[&["--color", "never"], arguments].concat()).ok()
    }

    /// What a command prints with `--json`; panics if it fails.
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.run(&[&["--json"], arguments].concat()).ok();
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{arguments:?} printed no JSON: {error}\n{text}"))
    }

    /// Removes programs, pins and state.
    pub fn detach(&self) {
        let _ = self.text(&["detach"]);
    }

    /// Starts the controller and waits until it says that it is ready.
    #[must_use]
    pub fn start(&self, config: &Path) -> Controller {
        let config = config.to_str().expect("the config's path is UTF-8");
        self.start_with(&["run", "--config", config])
    }

    /// The same with any arguments: `run --inside …`, `--log …`.
    #[must_use]
    pub fn start_with(&self, arguments: &[&str]) -> Controller {
        let controller = self.spawn(arguments);
        controller.wait_ready();
        controller
    }

    /// Starts the controller without waiting, for one that is expected to fail.
    #[must_use]
    pub fn spawn(&self, arguments: &[&str]) -> Controller {
        Controller::spawn(self.command(arguments))
    }
}

/// The program: NAT_CTL, or the one that cargo has built beside this test or demo. The error says
/// what to do.
pub fn find_binary() -> Result<PathBuf, String> {
    if let Some(path) = env::var_os("NAT_CTL") {
        return Ok(path.into());
    }
    let own = env::current_exe().map_err(|error| format!("where is this program: {error}"))?;
    // Tests are one folder deeper than programs.
    let candidates: Vec<_> =
        own.ancestors().skip(1).take(2).map(|folder| folder.join("nat-ctl")).collect();
    candidates.iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
        let folders: Vec<_> = candidates.iter().map(|path| path.display().to_string()).collect();
        format!("no {}: build it (cargo build -p nat-ctl) or set NAT_CTL", folders.join(" or "))
    })
}

/// A running `nat-ctl run`. Stopped on drop; killed by the kernel if the thread that started it
/// ends without that.
pub struct Controller {
    child: Child,
    line: String,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    state: Mutex<LogState>,
    more: Condvar,
}

#[derive(Default)]
struct LogState {
    lines: Vec<String>,
    ended: bool,
}

impl Controller {
    fn spawn(mut command: Command) -> Self {
        let line = command_line(&command);
        prepare_background(&mut command);
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
        let log = Arc::new(Log::default());
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let stderr = child.stderr.take().expect("standard error is a pipe");
        thread::spawn({
            let log = Arc::clone(&log);
            move || collect(stdout, &log)
        });
        thread::spawn({
            let log = Arc::clone(&log);
            move || {
                collect(stderr, &log);
                log.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
                log.more.notify_all();
            }
        });
        Self { child, line, log }
    }

    /// Everything it has written so far, to standard output and standard error.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.state.lock().unwrap_or_else(PoisonError::into_inner).lines.join("\n")
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of its log, past or future. `None` when the time is up or it has ended.
    #[must_use]
    pub fn wait_line(
        &self,
        limit: Duration,
        mut is_it: impl FnMut(&str) -> bool,
    ) -> Option<String> {
        let deadline = Instant::now() + limit;
        let mut state = self.log.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut examined = 0;
        loop {
            if let Some(line) = state.lines[examined..].iter().find(|line| is_it(line)) {
                return Some(line.clone());
            }
            if state.ended {
                return None;
            }
            examined = state.lines.len();
            let left = deadline.checked_duration_since(Instant::now())?;
            (state, _) =
                self.log.more.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wait_ready(&self) {
        let started = Instant::now();
        if self.wait_line(READY_LIMIT, says_ready).is_none() {
            let waited = started.elapsed();
            // Its log is printed by drop().
            panic!("{}\nnot ready after {waited:?}", self.line);
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid is an int"));
        // Not reaped yet, as that takes a mutable reference: the pid is still this process's.
        kill(pid, signal).unwrap_or_else(|error| panic!("send {signal} to {pid}: {error}"));
    }

    /// Waits for its end by itself. `None` when the time is up.
    pub fn wait_end(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait_exit(&mut self.child, limit)
    }

    /// Ends it in the orderly way (SIGTERM); the data path stays. Panics if it takes too long.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let status = self.wait_end(STOP_LIMIT);
        status.unwrap_or_else(|| panic!("{} ignores SIGTERM; its log:\n{}", self.line, self.log()))
    }

    /// Ends it as a crash would (SIGKILL); the data path stays.
    pub fn kill(mut self) {
        super::process::kill(&mut self.child);
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // Only if it was not waited for, else the pid may be somebody else's.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::SIGTERM);
            if wait_exit(&mut self.child, STOP_LIMIT).is_none() {
                super::process::kill(&mut self.child);
            }
        }
        if thread::panicking() {
            eprintln!("log of {}:\n{}", self.line, self.log());
        }
    }
}

fn collect(output: impl Read, log: &Log) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        log.state.lock().unwrap_or_else(PoisonError::into_inner).lines.push(line);
        log.more.notify_all();
    }
}

/// The word itself: "already" contains it too.
fn says_ready(line: &str) -> bool {
    line.split(|letter: char| !letter.is_alphanumeric()).any(|word| word == "ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_a_word() {
        assert!(says_ready("INFO nat_ctl: ready (2 interfaces)"));
        assert!(!says_ready("already attached"));
    }

    #[test]
    fn a_controller_that_ends_at_once_is_not_ready() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such interface >&2; exit 4"]);
        let mut controller = Controller::spawn(command);
        assert!(controller.wait_line(Duration::from_secs(5), says_ready).is_none());
        assert_eq!(controller.wait_end(Duration::from_secs(5)).and_then(|it| it.code()), Some(4));
        assert_eq!(controller.log(), "no such interface");
    }

    #[test]
    fn a_controller_ends_with_its_handle() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready >&2; exec sleep 60"]);
        let controller = Controller::spawn(command);
        assert!(controller.wait_line(Duration::from_secs(5), says_ready).is_some());
        let pid = controller.pid();
        drop(controller);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
