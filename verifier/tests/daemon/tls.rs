//! A link whose ends show each other certificates.

use std::path::Path;

use platform::Storage;
use platform::tls::{MutualFiles, TlsClient};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{Gateway, LINK, Template, World};

/// Writes a pair as `gateway gen-tls` makes it.
fn make_pair(storage: &dyn Storage, directory: &Path, name: &str) {
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let put = |kind: &str, text: &str| {
        storage.write_atomic(&directory.join(format!("{name}.{kind}")), text.as_bytes()).unwrap();
    };
    put("cert", &pair.cert.pem());
    put("key", &pair.signing_key.serialize_pem());
}

fn files(directory: &Path, own: &str, other: &str) -> MutualFiles {
    MutualFiles {
        cert_file: directory.join(format!("{own}.cert")),
        key_file: directory.join(format!("{own}.key")),
        ca_file: directory.join(format!("{other}.cert")),
    }
}

async fn connect(world: &World, client: &TlsClient) -> Gateway {
    Gateway::on(client.connect(world.env.net.as_ref(), LINK).await.unwrap())
}

/// Whether a proposal gets its verdict.
async fn is_judged(world: &World, client: &TlsClient) -> bool {
    let mut gateway = connect(world, client).await;
    gateway.propose(&Template::new(1, 1)).await;
    gateway.receive().await.is_some()
}

#[tokio::test(start_paused = true)]
async fn only_gateways_with_a_trusted_certificate_are_heard() {
    let directory = tempfile::tempdir().unwrap();
    let (place, storage) = (directory.path(), platform::real::env().storage);
    for name in ["verifier", "gateway", "stranger"] {
        make_pair(storage.as_ref(), place, name);
    }
    let world = World::with_config("[policy]\nmin_avg_fee_hi = 1\n", |config| {
        config.tls = Some(files(place, "verifier", "gateway"));
    })
    .await;
    let client = |name| files(place, name, "verifier").client(storage.as_ref()).unwrap();
    let (ours, stranger) = (client("gateway"), client("stranger"));

    let mut gateway = connect(&world, &ours).await;
    assert!(gateway.judge(&Template::new(1, 1)).await.accepted);
    assert!(!is_judged(&world, &stranger).await);
    // Without TLS, whatever comes back is no message.
    let mut bare = world.env.net.connect(LINK).await.unwrap();
    bare.write_all(&Template::new(1, 1).lines().concat()).await.unwrap();
    let mut answer = Vec::new();
    let _ = bare.read_to_end(&mut answer).await;
    assert!(!answer.contains(&b'{'), "{answer:?}");

    // A file that cannot be used changes nothing.
    let reload = async |certificates: &[u8]| {
        storage.write_atomic(&place.join("gateway.cert"), certificates).unwrap();
        world.reload.request();
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    };
    let both = ["gateway.cert", "stranger.cert"].map(|file| storage.read(&place.join(file)));
    let both = both.map(Result::unwrap).concat();
    reload(b"no certificate").await;
    assert!(is_judged(&world, &ours).await);
    assert!(!is_judged(&world, &stranger).await);
    reload(&both).await;
    assert!(is_judged(&world, &ours).await);
    assert!(is_judged(&world, &stranger).await);
    // Whoever was connected stays.
    assert!(gateway.judge(&Template::new(2, 1)).await.accepted);
    world.stop().await;
}
