//! The verbs that write files: keys, certificates, reference pages.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use gateway::gen_keys;
use platform::Env;

#[derive(Args)]
pub(crate) struct GenKeysArgs {
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
pub(crate) struct GenTlsArgs {
    /// The directory that gets tls.cert and tls.key. No file is ever overwritten.
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// The names and addresses under which whoever shows it is reached.
    #[arg(long, default_values = ["localhost", "127.0.0.1"])]
    host: Vec<String>,
}

#[derive(Args)]
pub(crate) struct ReferenceArgs {
    /// The directory that gets them; files of the same names are replaced.
    #[arg(long)]
    out: PathBuf,
}

pub(crate) fn gen_keys(args: &GenKeysArgs) -> anyhow::Result<ExitCode> {
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

pub(crate) fn gen_tls(args: &GenTlsArgs) -> anyhow::Result<ExitCode> {
    let env = platform::real::env();
    ensure_absent(&env, &args.out, &["tls.cert", "tls.key"])?;
    let pair = rcgen::generate_simple_self_signed(args.host.clone())?;
    create(&args.out.join("tls.key"), pair.signing_key.serialize_pem().trim_end(), 0o600)?;
    create(&args.out.join("tls.cert"), pair.cert.pem().trim_end(), 0o644)?;
    println!("self-signed: the other end must be told to trust tls.cert");
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn write_reference(args: &ReferenceArgs) -> anyhow::Result<ExitCode> {
    let storage = platform::real::env().storage;
    for (name, text) in gateway::reference::pages() {
        let path = args.out.join(name);
        storage.create_dir_all(path.parent().unwrap_or(&args.out))?;
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
