//! What this machine allows at best.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use super::{CertifyError, Options, machine, threads};

/// A sealed NewMiningJob and SetNewPrevHash: two headers of 22 bytes, then 49 and 48 with 16 each.
const TIP_BYTES: usize = 2 * 22 + 49 + 48 + 2 * 16;
/// Connections at most: beyond them the time grows with their number, and files are scarce.
const MOST_CONNECTIONS: u32 = 1000;
/// How often they go out.
const ROUNDS: u8 = 30;
/// Readers are done and wait again by the next round.
const PAUSE: Duration = Duration::from_millis(200);

/// A sealed SubmitSharesStandard: a header of 22 bytes, then 24 with 16 more.
const SHARE_BYTES: usize = 22 + 24 + 16;
/// How often one goes there and back.
const SHARES: u16 = 1000;
/// Both sides sleep by the next.
const SHARE_PAUSE: Duration = Duration::from_millis(2);

/// The limit for the tips of a load, in milliseconds; none where no tip is made here.
pub(super) fn of_tips(
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Option<f64>, CertifyError> {
    if options.gateway.is_some() || options.tip_interval >= options.duration {
        return Ok(None);
    }
    progress("measuring what this machine allows at best");
    let connections = options.miners.clamp(1, MOST_CONNECTIONS);
    let scale = f64::from(options.miners) / f64::from(connections);
    Ok(Some(fan_out(connections)? * scale))
}

/// How long one thread takes, at least, to bring a tip to so many miners: it does nothing but write
/// the bytes to connections over loopback, whose readers stand back as the load's miners do.
/// Milliseconds from the first write to the end of a write, for 99 of a hundred.
fn fan_out(connections: u32) -> Result<f64, CertifyError> {
    // Both ends of each connection are this process's.
    machine::room_for(2 * connections)?;
    let failed = |error| CertifyError::Load(format!("writing tips to plain readers: {error}"));
    let readers = standing_back().map_err(failed)?;
    let mut written = readers.block_on(write(connections)).map_err(failed)?;
    written.sort_unstable();
    let p99 = written.get(written.len() * 99 / 100).copied().unwrap_or_default();
    Ok(p99.as_secs_f64() * 1e3)
}

/// Threads like those of the load's miners.
fn standing_back() -> io::Result<Runtime> {
    Builder::new_multi_thread().on_thread_start(threads::stand_back).enable_all().build()
}

/// How long after the first of its round each write ended.
async fn write(count: u32) -> io::Result<Vec<Duration>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let mut connections = Vec::new();
    for _ in 0..count {
        let reader = TcpStream::connect(address).await?;
        drop(tokio::spawn(read(reader)));
        let (connection, _) = listener.accept()?;
        connection.set_nodelay(true)?;
        connections.push(connection);
    }
    let mut written = Vec::new();
    for round in 0..ROUNDS {
        tokio::time::sleep(PAUSE).await;
        let tip = [round; TIP_BYTES];
        let begun = Instant::now();
        for connection in &mut connections {
            connection.write_all(&tip)?;
            written.push(begun.elapsed());
        }
    }
    Ok(written)
}

/// How long a write to a thread that waits for it and the answer take over loopback, at half of the
/// rounds; milliseconds. Whoever asks stands back, and both rest between two rounds, as a miner and
/// a gateway do whose processors have little to do.
pub(super) fn round_trip() -> Result<f64, CertifyError> {
    let failed = |error| CertifyError::Load(format!("asking a plain server: {error}"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    let miners = standing_back().map_err(failed)?;
    let mut asked = thread::scope(|scope| {
        let address = listener.local_addr()?;
        let server = scope.spawn(|| echo(&listener));
        let asked = miners.block_on(async { tokio::spawn(ask(address)).await })?;
        server.join().expect("it answers to the end")?;
        asked
    })
    .map_err(failed)?;
    asked.sort_unstable();
    Ok(asked[asked.len() / 2].as_secs_f64() * 1e3)
}

/// Asks again and again; how long each answer took.
async fn ask(server: SocketAddr) -> io::Result<Vec<Duration>> {
    let mut server = TcpStream::connect(server).await?;
    server.set_nodelay(true)?;
    let mut share = [0; SHARE_BYTES];
    let mut asked = Vec::new();
    for _ in 0..SHARES {
        tokio::time::sleep(SHARE_PAUSE).await;
        let begun = Instant::now();
        server.write_all(&share).await?;
        server.read_exact(&mut share).await?;
        asked.push(begun.elapsed());
    }
    Ok(asked)
}

/// Sends back what one connection sends, to its end.
fn echo(listener: &TcpListener) -> io::Result<()> {
    let (mut connection, _) = listener.accept()?;
    connection.set_nodelay(true)?;
    let mut share = [0; SHARE_BYTES];
    loop {
        match connection.read(&mut share)? {
            0 => return Ok(()),
            read => connection.write_all(&share[..read])?,
        }
    }
}

/// Reads what comes, to the end.
async fn read(mut stream: TcpStream) -> io::Result<()> {
    let mut space = [0; 2 * TIP_BYTES];
    while stream.read(&mut space).await? > 0 {}
    Ok(())
}
