//! How a worker process says how far it has got, and how that is read.
//!
//! `<pid>.cnt` has lines `<unix time> <jobs done so far>`; `<pid>.use` has lines `<jobs done so far>
//! <seconds of CPU used> <jobs that measured how long they waited>`; `lat.json` has what each of these
//! waited, in ms, once its process has ended.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;

use super::noop;

/// How often a worker says how far it has got.
const BEAT: Duration = Duration::from_millis(10);

/// Says how far this process has got, until `stop`; `end` writes the rest.
pub(super) struct Teller {
    counts: File,
    uses: File,
    last: Option<u64>,
}

impl Teller {
    /// In this directory.
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        let file = |ending: &str| {
            let name = format!("{}.{ending}", std::process::id());
            File::options().create(true).append(true).open(dir.join(name))
        };
        Ok(Self { counts: file("cnt")?, uses: file("use")?, last: None })
    }

    /// Writes a line whenever the count has changed, until `stop`.
    pub(super) async fn tell(mut self, stop: CancellationToken) -> io::Result<Self> {
        let mut beat = tokio::time::interval(BEAT);
        while stop.run_until_cancelled(beat.tick()).await.is_some() {
            self.line()?;
        }
        Ok(self)
    }

    /// Writes the last line, and what each job waited.
    pub(super) fn end(mut self, dir: &Path) -> io::Result<()> {
        self.line()?;
        let waited = noop::waited();
        if waited.is_empty() {
            return Ok(());
        }
        fs::write(dir.join("lat.json"), serde_json::to_vec(&waited)?)
    }

    fn line(&mut self) -> io::Result<()> {
        let count = noop::done();
        if self.last == Some(count) {
            return Ok(());
        }
        self.last = Some(count);
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        // One write a line: whoever reads meanwhile sees whole lines.
        let measured = noop::measured();
        self.uses.write_all(format!("{count} {cpu:.6} {measured}\n").as_bytes())?;
        self.counts.write_all(format!("{:.6} {count}\n", noop::now_ms() / 1e3).as_bytes())
    }
}

/// What all workers of a directory have said.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Unix time and jobs done by all until then, in order.
    done: Vec<(f64, f64)>,
    /// Seconds of CPU that all used between their first and their last line, and jobs done meanwhile.
    cpu: (f64, f64),
    /// Jobs that measured how long they waited.
    pub(super) measured: f64,
    /// Workers that have begun.
    pub(super) workers: usize,
}

impl Progress {
    /// Reads it.
    pub(super) fn read(dir: &Path) -> io::Result<Self> {
        let mut progress = Self::default();
        let mut steps = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let ending = path.extension().and_then(|ending| ending.to_str());
            match ending {
                Some("cnt") => {
                    let lines = rows::<2>(&fs::read_to_string(&path)?);
                    progress.workers += usize::from(!lines.is_empty());
                    let before = std::iter::once(0.0).chain(lines.iter().map(|line| line[1]));
                    let more = lines.iter().zip(before).map(|([at, n], before)| (*at, n - before));
                    steps.extend(more);
                }
                Some("use") => {
                    let lines = rows::<3>(&fs::read_to_string(&path)?);
                    if let [first, .., last] = &lines[..] {
                        progress.cpu.0 += last[1] - first[1];
                        progress.cpu.1 += last[0] - first[0];
                        progress.measured += last[2];
                    }
                }
                _ => {}
            }
        }
        steps.sort_by(|a, b| a.0.total_cmp(&b.0));
        progress.done = steps
            .into_iter()
            .scan(0.0, |total, (at, more)| {
                *total += more;
                Some((at, *total))
            })
            .collect();
        Ok(progress)
    }

    /// Jobs done by all.
    pub(super) fn total(&self) -> f64 {
        self.done.last().map_or(0.0, |last| last.1)
    }

    /// Jobs a second: the slope from 15 % to 95 % of the backlog.
    pub(super) fn rate(&self, backlog: f64) -> f64 {
        let (from, till) = (self.reached(backlog * 0.15), self.reached(backlog * 0.95));
        backlog * 0.8 / (till - from).max(1e-3)
    }

    /// µs of the workers' CPU for a job.
    pub(super) fn cpu_us(&self) -> f64 {
        self.cpu.0 * 1e6 / self.cpu.1.max(1.0)
    }

    /// When so many were done: between the two lines around that.
    fn reached(&self, count: f64) -> f64 {
        let at = self.done.partition_point(|(_, done)| *done < count);
        match (at.checked_sub(1).map(|before| self.done[before]), self.done.get(at).copied()) {
            (Some((from, less)), Some((till, more))) => {
                from + (till - from) * (count - less) / (more - less)
            }
            (None, Some((at, _))) | (Some((at, _)), None) => at,
            (None, None) => 0.0,
        }
    }
}

/// Lines of numbers; the last may be half written.
fn rows<const N: usize>(text: &str) -> Vec<[f64; N]> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let row = |line: &str| {
        let numbers: Option<Vec<f64>> = line.split(' ').map(|word| word.parse().ok()).collect();
        numbers?.try_into().ok()
    };
    whole.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_the_slope_of_all_workers_together() {
        // given: 100 jobs, one worker after the other, at 10 and then at 30 jobs a second
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("1.cnt"), "100.0 0\n105.0 50\n").unwrap();
        fs::write(dir.path().join("2.cnt"), "100.0 0\n105.0 0\n106.0 30\n106.5 50\n107.0 99")
            .unwrap();
        fs::write(dir.path().join("1.use"), "0 1.0 0\n50 2.0 0\n").unwrap();
        fs::write(dir.path().join("2.use"), "0 1.0 0\n50 4.0 7\n").unwrap();
        // when
        let progress = Progress::read(dir.path()).unwrap();
        // then
        assert_eq!((progress.workers, progress.total()), (2, 100.0));
        // 15 at 101.5; 95 at 106 + 15/40.
        assert!((progress.rate(100.0) - 80.0 / (106.375 - 101.5)).abs() < 1e-6);
        assert_eq!((progress.cpu_us(), progress.measured), (40_000.0, 7.0));
    }
}
