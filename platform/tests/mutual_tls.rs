//! A link whose ends show each other certificates, on real sockets.

#![allow(clippy::unwrap_used)] // clippy.toml exempts `#[test]` functions, not what they share.

use std::path::PathBuf;

use platform::tls::{MutualFiles, TlsClient, TlsFile, TlsListener};
use platform::{Env, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

/// Pairs of certificate and key by name, in files, as `gateway gen-tls` makes them.
struct Pairs(tempfile::TempDir);

impl Pairs {
    fn new(names: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let storage = platform::real::env().storage;
        for name in names {
            let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
            let pair = rcgen::generate_simple_self_signed(hosts).unwrap();
            let put = |kind: &str, text: &str| {
                let path = directory.path().join(format!("{name}.{kind}"));
                storage.write_atomic(&path, text.as_bytes()).unwrap();
            };
            put("cert", &pair.cert.pem());
            put("key", &pair.signing_key.serialize_pem());
        }
        Self(directory)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// What `own` uses to meet `other`.
    fn files(&self, own: &str, other: &str) -> MutualFiles {
        MutualFiles {
            cert_file: self.path(&format!("{own}.cert")),
            key_file: self.path(&format!("{own}.key")),
            ca_file: self.path(&format!("{other}.cert")),
        }
    }

    fn client(&self, own: &str, other: &str) -> TlsClient {
        self.files(own, other).client(platform::real::env().storage.as_ref()).unwrap()
    }
}

/// A server that answers each byte with the next; it trusts `gateway`.
async fn serve(env: &Env, pairs: &Pairs) -> String {
    let listener = env.net.listen("0.0.0.0:0").await.unwrap();
    let address = format!("127.0.0.1:{}", listener.local_addr().port());
    let identity = pairs.files("verifier", "gateway").server(env.storage.as_ref()).unwrap();
    let (sender, identity) = watch::channel(Some(identity));
    let mut listener = TlsListener::new(listener, identity, env.tasks.clone());
    let tasks = env.tasks.clone();
    drop(env.tasks.spawn("server", async move {
        let _held = sender;
        loop {
            let mut stream = listener.accept().await.unwrap();
            drop(tasks.spawn("answers", async move {
                while let Ok(byte) = stream.read_u8().await {
                    stream.write_u8(byte + 1).await.unwrap();
                    stream.flush().await.unwrap();
                }
            }));
        }
    }));
    address
}

async fn ask(client: &TlsClient, env: &Env, address: &str) -> std::io::Result<u8> {
    let mut stream = client.connect(env.net.as_ref(), address).await?;
    stream.write_u8(41).await?;
    stream.flush().await?;
    stream.read_u8().await
}

#[tokio::test]
async fn only_ends_that_trust_each_other_meet() {
    let (env, pairs) = (platform::real::env(), Pairs::new(&["verifier", "gateway", "stranger"]));
    let address = serve(&env, &pairs).await;

    assert_eq!(ask(&pairs.client("gateway", "verifier"), &env, &address).await.unwrap(), 42);

    // The server does not know the client.
    let refused = ask(&pairs.client("stranger", "verifier"), &env, &address).await.unwrap_err();
    assert!(refused.to_string().contains("alert"), "{refused}");
    // The client does not know the server.
    let refused = ask(&pairs.client("gateway", "stranger"), &env, &address).await.unwrap_err();
    assert!(refused.to_string().contains("invalid peer certificate"), "{refused}");
    // The server's certificate names another host.
    let (_, port) = address.rsplit_once(':').unwrap();
    let elsewhere = format!("127.0.0.2:{port}");
    let refused = ask(&pairs.client("gateway", "verifier"), &env, &elsewhere).await.unwrap_err();
    assert!(refused.to_string().contains("not valid for name"), "{refused}");
    // No TLS at all, and then no certificate.
    let mut bare = env.net.connect(&address).await.unwrap();
    bare.write_all(b"{\"msg_type\":\"heartbeat\"}\n").await.unwrap();
    let mut answer = Vec::new();
    // However it ends, nothing but TLS's own complaint comes back.
    let _ = bare.read_to_end(&mut answer).await;
    assert!(answer.len() < 16, "{answer:?}");

    assert_eq!(ask(&pairs.client("gateway", "verifier"), &env, &address).await.unwrap(), 42);
    env.tasks.end().await;
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let (env, pairs) = (platform::real::env(), Pairs::new(&["verifier", "gateway"]));
    let storage = env.storage.as_ref();
    let right = pairs.files("verifier", "gateway");
    let wrong = |file: TlsFile, path: &str| {
        let mut files = right.clone();
        *match file {
            TlsFile::Cert => &mut files.cert_file,
            TlsFile::Key => &mut files.key_file,
            TlsFile::Ca => &mut files.ca_file,
        } = pairs.path(path);
        files.client(storage).err().map(|error| (error.file, error.said))
    };
    for (file, path, said) in [
        (TlsFile::Cert, "nowhere", "cannot be read"),
        (TlsFile::Cert, "gateway.key", "holds no certificate in PEM"),
        (TlsFile::Cert, "gateway.cert", "cannot be used together"),
        (TlsFile::Key, "verifier.cert", "holds no private key in PEM"),
        (TlsFile::Ca, "gateway.key", "holds no certificate to trust in PEM"),
    ] {
        let (found, text) = wrong(file, path).expect("refused");
        assert_eq!(found, file, "{text}");
        assert!(text.contains(said), "{text}");
    }
}
