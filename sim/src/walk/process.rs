//! Child processes that never outlive the walk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use platform::Env;
use platform::http_client::HttpClient;
use tokio::time::Instant;

use super::WalkError;
use super::site::loopback;

/// How long anything may take: far longer than it does on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// How often a wait looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How long a probe may take.
const PROBE: Duration = Duration::from_secs(2);

/// How much of a log is shown where something goes wrong.
const TAIL_LINES: usize = 15;

/// The programs that are walked.
const NAMES: [&str; 3] = ["gateway", "verifier", "template-manager"];
/// The program that judges them.
const JUDGE: &str = "conformance";

/// Where the programs are.
pub(crate) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Looks into `folder`, or into the one of the running program.
    pub(crate) fn find(folder: Option<&Path>, with_judge: bool) -> Result<Self, WalkError> {
        let folder = match folder {
            // The programs run elsewhere than this one.
            Some(folder) => std::path::absolute(folder)
                .map_err(|source| WalkError::machine(folder.display().to_string(), source))?,
            None => {
                let own = std::env::current_exe()
                    .map_err(|source| WalkError::machine("this program's own path", source))?;
                own.parent().map(Path::to_owned).unwrap_or_default()
            }
        };
        let wanted: Vec<_> = NAMES.into_iter().chain(with_judge.then_some(JUDGE)).collect();
        let missing: Vec<_> =
            wanted.into_iter().filter(|name| !folder.join(name).is_file()).collect();
        if missing.is_empty() {
            return Ok(Self { folder });
        }
        Err(WalkError::Missing { names: missing.join(", "), folder })
    }

    /// Those of a folder that is known to have them.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Runs one of them in `work` to its end, which must be a good one. What it wrote.
    pub(crate) fn run(
        &self,
        program: &'static str,
        arguments: &[&str],
        work: &Path,
    ) -> Result<String, WalkError> {
        let (process, status) = self.run_to_its_end(program, arguments, work)?;
        if status.success() {
            return Ok(process.log());
        }
        Err(process.ended_badly(status, format!("as `{program} {}`", arguments.join(" "))))
    }

    /// Runs one of them in `work` to its end, whichever.
    pub(crate) fn run_to_its_end(
        &self,
        program: &'static str,
        arguments: &[&str],
        work: &Path,
    ) -> Result<(Process, ExitStatus), WalkError> {
        let mut process = self.start(program, arguments, work)?;
        let failed = |source| WalkError::machine(format!("{program} cannot be watched"), source);
        let status = process.child.wait().map_err(failed)?;
        Ok((process, status))
    }

    /// Starts one of them in `work`, where its log is written to `<program>.log`.
    pub(crate) fn start(
        &self,
        program: &'static str,
        arguments: &[&str],
        work: &Path,
    ) -> Result<Process, WalkError> {
        self.start_behind(&[], program, arguments, work)
    }

    /// The same, with the program and its arguments at the end of another command's.
    pub(crate) fn start_behind(
        &self,
        wrapper: &[&str],
        program: &'static str,
        arguments: &[&str],
        work: &Path,
    ) -> Result<Process, WalkError> {
        let log = work.join(format!("{program}.log"));
        let failed = |source| WalkError::machine(format!("{program} cannot be started"), source);
        let file = File::options().create(true).append(true).open(&log).map_err(failed)?;
        let program_file = self.folder.join(program);
        let mut command = match wrapper {
            [] => Command::new(program_file),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program_file);
                command
            }
        };
        let child = command
            .args(arguments)
            .current_dir(work)
            .stdin(Stdio::null())
            .stdout(file.try_clone().map_err(failed)?)
            .stderr(file)
            .spawn()
            .map_err(failed)?;
        Ok(Process { program, child, log })
    }
}

/// The programs that run now.
#[derive(Default)]
pub(crate) struct Running {
    processes: Vec<Process>,
}

impl Running {
    pub(crate) fn add(&mut self, process: Process) {
        self.processes.push(process);
    }

    /// Waits until `check` has what is waited for; until then it says how things stand. That no
    /// program ends meanwhile is part of the wait; `program` is the one whose log tells why it is
    /// late.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        program: &'static str,
        mut check: impl AsyncFnMut() -> Result<T, String>,
    ) -> Result<T, WalkError> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let state = match check().await {
                Ok(value) => return Ok(value),
                Err(state) => state,
            };
            self.all_run(&format!("before this: {what}"))?;
            if Instant::now() >= deadline {
                let tail = self.tail_of(program);
                let what = format!("{what} ({state})");
                return Err(WalkError::Late { what, limit: LIMIT, program, tail });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// That no program has ended by itself; `when` tells the story if one has.
    pub(crate) fn all_run(&mut self, when: &str) -> Result<(), WalkError> {
        for process in &mut self.processes {
            if let Some(status) = process.ended()? {
                return Err(process.ended_badly(status, when));
            }
        }
        Ok(())
    }

    /// Waits until the `/ready` of a program's HTTP interface, at this port of loopback, says so.
    pub(crate) async fn until_ready(
        &mut self,
        env: &Env,
        program: &'static str,
        port: u16,
    ) -> Result<(), WalkError> {
        let client = HttpClient::new(env);
        let url = format!("http://{}/ready", loopback(port));
        let check = async || {
            let request = Request::get(&url)
                .body(Full::new(Bytes::new()))
                .expect("the request is well formed");
            match client.send(request, PROBE, 1 << 16).await {
                Ok(answer) if answer.status() == StatusCode::OK => Ok(()),
                Ok(answer) => Err(String::from_utf8_lossy(answer.body()).into_owned()),
                Err(error) => Err(error.to_string()),
            }
        };
        self.until(&format!("{url} to say that it is ready"), program, check).await
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, program: &str) -> Result<(), WalkError> {
        self.take(program).kill()
    }

    /// SIGHUP: it reads its configuration again.
    pub(crate) fn hang_up(&self, program: &str) -> Result<(), WalkError> {
        let process = self.processes.iter().find(|process| process.program == program);
        process.expect("only what was started is told to reload").signal("HUP")
    }

    /// SIGTERM, upon which it must end with 0. What it wrote.
    pub(crate) async fn end(&mut self, program: &str) -> Result<String, WalkError> {
        let mut process = self.take(program);
        process.terminate()?;
        let deadline = Instant::now() + LIMIT;
        loop {
            match process.ended()? {
                Some(status) if status.success() => return Ok(process.log()),
                Some(status) => return Err(process.ended_badly(status, "after SIGTERM")),
                None if Instant::now() >= deadline => {
                    let (program, tail) = (process.program, process.tail());
                    let what = format!("{program} to end after SIGTERM");
                    return Err(WalkError::Late { what, limit: LIMIT, program, tail });
                }
                None => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    fn take(&mut self, program: &str) -> Process {
        let index = self.processes.iter().position(|process| process.program == program);
        self.processes.remove(index.expect("only what was started is ended"))
    }

    /// The process id of one of them.
    pub(crate) fn pid(&self, program: &str) -> Option<u32> {
        let process = self.processes.iter().find(|process| process.program == program);
        process.map(|process| process.child.id())
    }

    /// Everything that one of them wrote.
    pub(crate) fn log_of(&self, program: &str) -> String {
        let process = self.processes.iter().find(|process| process.program == program);
        process.map(Process::log).unwrap_or_default()
    }

    fn tail_of(&self, program: &str) -> String {
        let process = self.processes.iter().find(|process| process.program == program);
        process.map(Process::tail).unwrap_or_default()
    }
}

/// A running program; dropping it kills it.
pub(crate) struct Process {
    program: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// How it ended, if it has.
    fn ended(&mut self) -> Result<Option<ExitStatus>, WalkError> {
        let program = self.program;
        self.child
            .try_wait()
            .map_err(|source| WalkError::machine(format!("{program} cannot be watched"), source))
    }

    /// SIGKILL, and waits until it is gone.
    fn kill(&mut self) -> Result<(), WalkError> {
        let program = self.program;
        let gone = self.child.kill().and_then(|()| self.child.wait());
        gone.map(drop)
            .map_err(|source| WalkError::machine(format!("{program} cannot be killed"), source))
    }

    /// SIGTERM.
    fn terminate(&self) -> Result<(), WalkError> {
        self.signal("TERM")
    }

    /// A signal, through the shell's own `kill`: the library has no safe one.
    fn signal(&self, signal: &str) -> Result<(), WalkError> {
        let what = format!("{} cannot be sent SIG{signal}", self.program);
        let status = Command::new("/bin/sh")
            .arg("-c")
            .arg(format!("kill -{signal} {}", self.child.id()))
            .status()
            .map_err(|source| WalkError::machine(what.clone(), source))?;
        if status.success() { Ok(()) } else { Err(WalkError::Violated(what)) }
    }

    /// Everything that it wrote.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines that it wrote.
    fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let first = lines.len().saturating_sub(TAIL_LINES);
        lines[first..].iter().map(|line| format!("  {line}\n")).collect()
    }

    /// It ended with this at a moment when it should not have.
    pub(crate) fn ended_badly(&self, status: ExitStatus, when: impl Into<String>) -> WalkError {
        WalkError::Ended { program: self.program, status, when: when.into(), tail: self.tail() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended before; then both refuse, and nothing is left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_programs_are_named_with_the_command_that_makes_them() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("verifier"), "").unwrap();
        let Err(error) = Programs::find(Some(folder.path()), true) else {
            panic!("nothing is missing")
        };
        let text = error.to_string();
        assert!(text.contains("has no gateway, template-manager, conformance; "), "{text}");
        assert!(text.contains("`cargo build --bins`"), "{text}");
    }

    #[test]
    fn a_process_is_told_to_end_and_its_last_lines_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("gateway");
        std::fs::write(&script, "#!/bin/sh\nseq 100\nexec cat /dev/zero >/dev/null\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
        let programs = Programs { folder: folder.path().to_owned() };
        let mut process = programs.start("gateway", &[], folder.path()).unwrap();
        while !process.log().contains("100") {
            assert_eq!(process.ended().unwrap(), None);
            std::thread::yield_now();
        }
        let tail = process.tail();
        assert!(tail.starts_with("  86\n") && tail.ends_with("  100\n"), "{tail}");
        process.terminate().unwrap();
        let status = process.child.wait().unwrap();
        assert!(!status.success());
        assert!(process.ended_badly(status, "while waiting").to_string().contains("  100\n"));
    }
}
