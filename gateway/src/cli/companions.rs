//! The verifier and the template-manager in the gateway's process: `gateway run --with`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use platform::{Env, Reload, Shutdown, TaskHandle};

#[derive(Args)]
pub(crate) struct CompanionArgs {
    /// Runs these in the same process.
    #[arg(long, value_delimiter = ',')]
    with: Vec<Companion>,
    /// The verifier's configuration, as `verifier --config`.
    #[arg(long)]
    verifier_config: Option<PathBuf>,
    /// The template-manager's configuration, as `template-manager --config`.
    #[arg(long)]
    templates_config: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Companion {
    /// The verifier.
    Verifier,
    /// The template-manager.
    Templates,
}

/// Which companions run, with what.
#[derive(Default)]
pub(crate) struct Plan {
    verifier: Option<verifier::Config>,
    templates: Option<templates::Config>,
}

impl CompanionArgs {
    /// The configurations of those asked for, or every problem.
    pub(crate) fn load(
        &self,
        environment: &BTreeMap<String, String>,
        env: &Env,
    ) -> Result<Plan, Vec<String>> {
        let (mut plan, mut problems) = (Plan::default(), Vec::new());
        if self.with.contains(&Companion::Verifier) {
            let read =
                |text: &str| verifier::Config::from_toml(text, environment, env.storage.as_ref());
            plan.verifier = Self::one(self.verifier_config.as_deref(), env, read, &mut problems);
        }
        if self.with.contains(&Companion::Templates) {
            let read =
                |text: &str| templates::Config::from_toml(text, environment, env.storage.as_ref());
            plan.templates = Self::one(self.templates_config.as_deref(), env, read, &mut problems);
        }
        if problems.is_empty() { Ok(plan) } else { Err(problems) }
    }

    fn one<C, P: Display>(
        file: Option<&Path>,
        env: &Env,
        read: impl FnOnce(&str) -> Result<C, Vec<P>>,
        problems: &mut Vec<String>,
    ) -> Option<C> {
        let name = match file {
            Some(file) => file.display().to_string(),
            None => "no file".to_owned(),
        };
        let text = match file.map_or_else(|| Ok(String::new()), |file| text(file, env)) {
            Ok(text) => text,
            Err(problem) => {
                problems.push(format!("{name}: {problem}"));
                return None;
            }
        };
        match read(&text) {
            Ok(config) => Some(config),
            Err(found) => {
                problems.extend(found.iter().map(|problem| format!("{name}: {problem}")));
                None
            }
        }
    }
}

fn text(file: &Path, env: &Env) -> Result<String, String> {
    let bytes = env.storage.read(file).map_err(|error| format!("cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "cannot be read: it is not UTF-8".to_owned())
}

/// What has companions read their files again: policy and certificates.
#[derive(Clone, Default)]
pub(crate) struct Reloads {
    templates: Reload,
    verifier: Reload,
}

impl Reloads {
    pub(crate) fn request(&self) {
        self.templates.request();
        self.verifier.request();
    }
}

type Ended = (&'static str, anyhow::Result<()>);

/// Runs the gateway with its companions. They end after it, so that blocks and verdicts reach their
/// ends in a drain; where one of them ends first, the gateway drains too. `reloads` have
/// them read their files again.
///
/// # Errors
/// What ended the gateway or a companion before its time.
pub(crate) async fn run_beside(
    plan: Plan,
    env: &Env,
    shutdown: &Shutdown,
    reloads: Reloads,
    gateway: impl Future<Output = Result<(), gateway::Error>>,
) -> anyhow::Result<()> {
    let stop = Shutdown::new();
    let mut companions = start(plan, env, &stop, reloads);
    let mut gateway = pin!(gateway);
    let early = tokio::select! {
        biased;
        ended = gateway.as_mut() => Err(ended),
        ended = first(&mut companions) => Ok(ended),
    };
    let (failed, ended) = match early {
        Err(ended) => (None, ended),
        Ok((name, ended)) => {
            let why = ended.err().unwrap_or_else(|| anyhow!("it ended unasked"));
            tracing::error!(companion = name, error = platform::in_full(why.as_ref()), "ending");
            shutdown.cancel();
            (Some(why.context(name)), gateway.await)
        }
    };
    stop.cancel();
    for companion in companions {
        if let Some((name, ended)) = companion.await {
            ended.context(name)?;
        }
    }
    ended?;
    failed.map_or(Ok(()), Err)
}

fn start(plan: Plan, env: &Env, stop: &Shutdown, reloads: Reloads) -> Vec<TaskHandle<Ended>> {
    let mut started = Vec::new();
    if let Some(config) = plan.templates {
        let run = templates::run(env.clone(), config, stop.clone(), reloads.templates);
        started.push(env.tasks.spawn("template_manager", async move {
            ("template-manager", run.await.map_err(anyhow::Error::from))
        }));
    }
    if let Some(config) = plan.verifier {
        let run = verifier::run_reloadable(env.clone(), config, stop.clone(), reloads.verifier);
        started.push(env.tasks.spawn("verifier", async move {
            ("verifier", run.await.map_err(anyhow::Error::from))
        }));
    }
    started
}

/// The companion that ends first, taken out of the list; waits for ever where there is none.
async fn first(companions: &mut Vec<TaskHandle<Ended>>) -> Ended {
    if companions.is_empty() {
        return std::future::pending().await;
    }
    let (ended, _, others) = futures_util::future::select_all(std::mem::take(companions)).await;
    *companions = others;
    ended.unwrap_or_else(|| ("companion", Err(anyhow!("it panicked"))))
}
