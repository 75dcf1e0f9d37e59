//! The callers: bytes over TCP, so that ten thousand of them cost little beside what is measured.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{Failure, PATIENCE, Served};

/// What is read ahead of a connection, in bytes.
const READ_AHEAD: usize = 1_024;
/// Callers that come at once, while all come.
const AT_ONCE: usize = 64;
/// Addresses that callers come from: one has only so many ports.
const ADDRESSES: u32 = 200;
/// Connections of a flood.
const FLOODING: u32 = 16;
/// How often it is looked whether all wait.
const LOOK: Duration = Duration::from_millis(50);

/// The address of a caller that submits.
pub(super) fn submitter(number: u32) -> Ipv4Addr {
    from(1, number)
}

fn from(group: u8, number: u32) -> Ipv4Addr {
    let last = u8::try_from(number % ADDRESSES + 1).unwrap_or(1);
    Ipv4Addr::new(127, 0, group, last)
}

/// A connection to the façade.
pub(super) struct Line(BufReader<TcpStream>);

/// What was answered.
pub(super) struct Said {
    status: u16,
    /// Whether the answer was held.
    held: bool,
    pub(super) body: Vec<u8>,
}

impl Said {
    /// The same, if it has this status.
    pub(super) fn expect(self, status: u16) -> Result<Self, Failure> {
        if self.status == status {
            return Ok(self);
        }
        let (got, said) = (self.status, String::from_utf8_lossy(&self.body));
        Err(Failure::unavailable(format!("the façade answered {got}, not {status}: {said}")))
    }
}

impl Line {
    pub(super) async fn open(to: SocketAddr, from: Ipv4Addr) -> Result<Self, Failure> {
        let connect = async {
            let socket = TcpSocket::new_v4()?;
            socket.bind((from, 0).into())?;
            let stream = socket.connect(to).await?;
            stream.set_nodelay(true)?;
            Ok(Self(BufReader::with_capacity(READ_AHEAD, stream)))
        };
        within(connect).await
    }

    /// Sends a request, and reads its answer.
    pub(super) async fn ask(&mut self, request: &[u8]) -> Result<Said, Failure> {
        // An answer that is held is held for a minute.
        let whole = async {
            self.0.write_all(request).await?;
            let (mut said, length) = self.head().await?;
            said.body.resize(length.unwrap_or(0), 0);
            self.0.read_exact(&mut said.body).await?;
            Ok(said)
        };
        timeout(PATIENCE * 2, whole).await.map_err(|_| late())?.map_err(|e| broken(&e))
    }

    /// Reads the head of an answer, and how long its body is.
    async fn head(&mut self) -> io::Result<(Said, Option<usize>)> {
        let mut line = String::new();
        let mut said = Said { status: 0, held: false, body: Vec::new() };
        let mut length = None;
        loop {
            line.clear();
            if self.0.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(status) = line.strip_prefix("HTTP/1.1 ") {
                said.status = status.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
            } else if let Some((name, value)) = line.split_once(": ") {
                said.held |= name == "preference-applied";
                if name == "content-length" {
                    length = value.trim().parse().ok();
                }
            } else {
                return Ok((said, length));
            }
        }
    }

    /// Waits for the first event of a stream, and then for its end, which should not come.
    async fn follow(&mut self, request: &[u8], gathered: &AtomicUsize) -> Result<(), Failure> {
        let begin = async {
            self.0.write_all(request).await?;
            self.head().await
        };
        within(begin).await?.0.expect(200)?;
        let mut line = Vec::new();
        let mut begun = false;
        loop {
            line.clear();
            let read = self.0.read_until(b'\n', &mut line).await.map_err(|e| broken(&e))?;
            if read == 0 {
                return Err(Failure::unavailable("the façade ended a stream"));
            }
            if !begun && line.starts_with(b"data: ") {
                begun = true;
                gathered.fetch_add(1, Relaxed);
            }
        }
    }
}

fn get(key: &str, job: &str, header: &str) -> String {
    format!(
        "GET /jobs/{job} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n{header}\r\n\r\n"
    )
}

/// Callers that wait, until this is dropped.
pub(super) struct Crowd(JoinSet<Result<(), Failure>>);

impl Crowd {
    /// One for each job, the first half for its events, the others for its end; as soon as all wait.
    pub(super) async fn gather(served: &Served, jobs: &[String]) -> Result<Self, Failure> {
        let mut crowd = JoinSet::new();
        let (doors, gathered) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(AtomicUsize::new(0)));
        for (number, job) in jobs.iter().enumerate() {
            let (address, key, job) = (served.address, served.key.clone(), job.clone());
            let (doors, gathered) = (Arc::clone(&doors), Arc::clone(&gathered));
            let follows = number < jobs.len() / 2;
            crowd.spawn(async move {
                let door = doors.acquire_owned().await.map_err(|_| late())?;
                let number = u32::try_from(number).unwrap_or_default();
                let mut line = Line::open(address, from(2, number)).await?;
                drop(door);
                if follows {
                    let request = get(&key, &job, "accept: text/event-stream");
                    return line.follow(request.as_bytes(), &gathered).await;
                }
                let request = get(&key, &job, "prefer: wait=60");
                gathered.fetch_add(1, Relaxed);
                loop {
                    line.ask(request.as_bytes()).await?.expect(200)?;
                }
            });
        }
        let mut crowd = Self(crowd);
        crowd.waits(served, jobs, &gathered).await?;
        Ok(crowd)
    }

    /// Waits until the façade has no place for one more, which is when all have theirs.
    async fn waits(
        &mut self,
        served: &Served,
        jobs: &[String],
        gathered: &AtomicUsize,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let probe = get(&served.key, &jobs[0], "prefer: wait=1\r\nif-none-match: \"none\"");
        loop {
            let there = gathered.load(Relaxed);
            if there == jobs.len() {
                // A new line each time: one on which nothing is said for long is closed.
                let mut line = Line::open(served.address, submitter(0)).await?;
                if !line.ask(probe.as_bytes()).await?.held {
                    return Ok(());
                }
            }
            if let Some(ended) = self.0.try_join_next() {
                return Err(failed(ended));
            }
            if began.elapsed() > PATIENCE * 2 {
                return Err(Failure::unavailable(format!(
                    "{there} of {} callers wait",
                    jobs.len()
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Says so when one of them has left.
    pub(super) fn still_there(mut self) -> Result<(), Failure> {
        match self.0.try_join_next() {
            Some(ended) => Err(failed(ended)),
            None => Ok(()),
        }
    }
}

/// Why one left that should have waited.
fn failed(ended: Result<Result<(), Failure>, tokio::task::JoinError>) -> Failure {
    match ended {
        Ok(Err(failure)) => failure,
        Ok(Ok(())) => Failure::unavailable("a caller waits no more"),
        Err(error) => Failure::unavailable(error.to_string()),
    }
}

/// Requests without a key, until this is ended.
pub(super) struct Flood {
    came: Arc<AtomicU64>,
    began: Instant,
    callers: JoinSet<Result<(), Failure>>,
}

impl Flood {
    /// So many a second.
    pub(super) fn begin(to: SocketAddr, rate: u32) -> Self {
        let came = Arc::new(AtomicU64::new(0));
        let mut callers = JoinSet::new();
        for number in 0..FLOODING {
            let came = Arc::clone(&came);
            callers.spawn(async move {
                let mut line = Line::open(to, from(3, number)).await?;
                let mut beat = interval(Duration::from_secs(1) * FLOODING / rate);
                beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    beat.tick().await;
                    line.ask(b"GET /jobs/job_x HTTP/1.1\r\nhost: bench\r\n\r\n").await?;
                    came.fetch_add(1, Relaxed);
                }
            });
        }
        Self { came, began: Instant::now(), callers }
    }

    /// Ends it; the requests a second that were answered.
    pub(super) async fn end(mut self) -> Result<f64, Failure> {
        let rate = self.came.load(Relaxed) as f64 / self.began.elapsed().as_secs_f64();
        match self.callers.try_join_next() {
            Some(ended) => Err(failed(ended)),
            None => Ok(rate),
        }
    }
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> Result<T, Failure> {
    timeout(PATIENCE, work).await.map_err(|_| late())?.map_err(|e| broken(&e))
}

fn late() -> Failure {
    Failure::unavailable("the façade does not answer")
}

fn broken(error: &io::Error) -> Failure {
    Failure::unavailable(format!("a connection to the façade broke: {error}"))
}
