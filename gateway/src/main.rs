//! The mining gateway.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use gateway::config::LogFormat;
use gateway::{Config, ConfigSource, Reload, gen_keys};
use platform::{Env, Shutdown};
use tracing_subscriber::EnvFilter;

/// What a wrong configuration exits with.
const EXIT_CONFIG: u8 = 2;

/// The Stratum V2 mining gateway.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    run: RunArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Serves miners (also without a verb).
    Run(RunArgs),
    /// Makes the keys with which miners are served.
    GenKeys(GenKeysArgs),
    /// Makes a self-signed certificate for HTTPS during development.
    GenTls(GenTlsArgs),
    /// Writes the reference pages and the example configurations.
    Reference(ReferenceArgs),
}

#[derive(Args)]
struct RunArgs {
    /// The configuration, TOML; environment variables GATEWAY__SECTION__KEY override it.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Checks the configuration, names every problem, and exits (2 with problems).
    #[arg(long)]
    check_config: bool,
    /// Prints the effective configuration, secrets redacted, and exits.
    #[arg(long)]
    print_config: bool,
}

#[derive(Args)]
struct GenKeysArgs {
    /// The directory that gets noise.key, noise.cert, authority.pub and, with a new authority,
    /// authority.key. No file is ever overwritten.
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// An authority's secret key to sign with; without it a new authority is made.
    #[arg(long)]
    authority_key: Option<PathBuf>,
    /// How long the certificate is valid, seconds.
    #[arg(long, default_value_t = 31_536_000)]
    validity_secs: u64,
    /// How far its validity reaches back, seconds.
    #[arg(long, default_value_t = 86_400)]
    backdate_secs: u64,
    /// Where miners will connect, for the URL that is printed.
    #[arg(long, default_value = "127.0.0.1:3333")]
    address: String,
}

#[derive(Args)]
struct GenTlsArgs {
    /// The directory that gets tls.cert and tls.key. No file is ever overwritten.
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// The names and addresses under which the gateway is reached.
    #[arg(long, default_values = ["localhost", "127.0.0.1"])]
    host: Vec<String>,
}

#[derive(Args)]
struct ReferenceArgs {
    /// The directory that gets them; files of the same names are replaced.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.verb {
        None => run(&cli.run),
        Some(Verb::Run(args)) => run(&args),
        Some(Verb::GenKeys(args)) => gen_keys(&args),
        Some(Verb::GenTls(args)) => gen_tls(&args),
        Some(Verb::Reference(args)) => write_reference(&args.out),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("gateway: {}", platform::in_full(error.as_ref()));
        ExitCode::FAILURE
    })
}

fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let env = platform::real::env();
        let source = ConfigSource { file: args.config.clone(), environment: environment() };
        let config = match source.load(&env) {
            Ok(config) => config,
            Err(problems) => {
                for problem in problems {
                    eprintln!("{problem}");
                }
                return Ok(ExitCode::from(EXIT_CONFIG));
            }
        };
        if args.print_config {
            print!("{}", config.print());
            return Ok(ExitCode::SUCCESS);
        }
        if args.check_config {
            println!("{source}: no problems");
            return Ok(ExitCode::SUCCESS);
        }
        init_logs(&config)?;
        let (shutdown, reload) = (Shutdown::new(), Reload::new());
        drop(env.tasks.spawn("signals", heed_signals(shutdown.clone(), reload.clone())?));
        gateway::run_reloadable(env, config, source, reload, shutdown).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// The environment of the process. A variable that is not Unicode is none of ours.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn init_logs(config: &Config) -> anyhow::Result<()> {
    use std::io::IsTerminal as _;
    let filter = EnvFilter::try_new(&config.telemetry.log_filter)?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.telemetry.log_format {
        LogFormat::Human => logs.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => logs.json().init(),
    }
    Ok(())
}

/// SIGTERM and SIGINT drain the gateway, SIGHUP has it read its configuration again.
fn heed_signals(
    shutdown: Shutdown,
    reload: Reload,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                biased;
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => reload.request(),
            }
        }
        shutdown.cancel();
    })
}

fn gen_keys(args: &GenKeysArgs) -> anyhow::Result<ExitCode> {
    let env = platform::real::env();
    let authority_key = match &args.authority_key {
        Some(path) => {
            let bytes = env.storage.read(path).with_context(|| path.display().to_string())?;
            let text = String::from_utf8(bytes).with_context(|| path.display().to_string())?;
            Some(zeroize::Zeroizing::new(text))
        }
        None => None,
    };
    let (validity, backdate) =
        (Duration::from_secs(args.validity_secs), Duration::from_secs(args.backdate_secs));
    let authority_key = authority_key.as_ref().map(|text| text.as_str());
    let keys = gen_keys::generate(&env, authority_key, validity, backdate)?;
    let new_authority = keys.new_authority_key.is_some();
    let mut names = vec!["noise.key", "noise.cert", "authority.pub"];
    names.extend(new_authority.then_some("authority.key"));
    ensure_absent(&env, &args.out, &names)?;
    let authority = keys.authority_public_key.to_string();
    if let Some(secret) = &keys.new_authority_key {
        create(&args.out.join("authority.key"), secret, 0o600)?;
    }
    create(&args.out.join("noise.key"), &keys.noise_key, 0o600)?;
    create(&args.out.join("noise.cert"), &keys.certificate, 0o644)?;
    create(&args.out.join("authority.pub"), &authority, 0o644)?;
    println!("authority public key: {authority}");
    println!("miners connect to:    stratum2+tcp://{}/{authority}", args.address);
    Ok(ExitCode::SUCCESS)
}

fn gen_tls(args: &GenTlsArgs) -> anyhow::Result<ExitCode> {
    let env = platform::real::env();
    ensure_absent(&env, &args.out, &["tls.cert", "tls.key"])?;
    let pair = rcgen::generate_simple_self_signed(args.host.clone())?;
    create(&args.out.join("tls.key"), pair.signing_key.serialize_pem().trim_end(), 0o600)?;
    create(&args.out.join("tls.cert"), pair.cert.pem().trim_end(), 0o644)?;
    println!("self-signed: for development only; clients must be told to trust tls.cert");
    Ok(ExitCode::SUCCESS)
}

fn write_reference(directory: &Path) -> anyhow::Result<ExitCode> {
    let storage = platform::real::env().storage;
    for (name, text) in gateway::reference::pages() {
        let path = directory.join(name);
        storage.create_dir_all(path.parent().unwrap_or(directory))?;
        let written = storage.write_atomic(&path, text.as_bytes());
        written.with_context(|| path.display().to_string())?;
        println!("wrote {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the directory, and fails where one of these files is in it.
fn ensure_absent(env: &Env, directory: &Path, names: &[&str]) -> anyhow::Result<()> {
    env.storage.create_dir_all(directory)?;
    let present = env.storage.list(directory)?;
    for name in names {
        anyhow::ensure!(
            !present.iter().any(|file| file == name),
            "{} exists and is never overwritten; move it away, or choose another --out",
            directory.join(name).display()
        );
    }
    Ok(())
}

/// Writes a new file that has its mode from its first moment; `Storage` knows no modes.
fn create(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.with_context(|| path.display().to_string())?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all().with_context(|| path.display().to_string())?;
    println!("wrote {}", path.display());
    Ok(())
}
