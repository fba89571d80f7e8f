//! Latencies and their quantiles.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2Serializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use serde::Serialize;

/// What is measured, each from the moment it was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Metric {
    /// From a connection's moment to SetupConnection.Success.
    Setup,
    /// From a connection's moment to the first job with its tip.
    FirstJob,
    /// From a new tip to SetNewPrevHash at each miner.
    Tip,
    /// From a new tip to the first miner.
    TipFirst,
    /// From a new tip to the median miner.
    TipMedian,
    /// From a new tip to the last miner.
    TipLast,
    /// From the first miner on a tip to each other one.
    TipSpread,
    /// From a share's moment to its answer.
    ShareAck,
    /// From a share's sending to its answer.
    ShareAckSent,
    /// From a share's moment to its sending: what this load generator itself is late.
    Lateness,
    /// From a template's proposal to its verdict, at the gateway.
    Verdict,
    /// From `share_accepted` to its `share_forward_result`, in whole milliseconds.
    Forward,
}

impl Metric {
    /// Its name in the certificate and in file names.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::FirstJob => "first_job",
            Self::Tip => "tip_to_miner",
            Self::TipFirst => "tip_to_first_miner",
            Self::TipMedian => "tip_to_median_miner",
            Self::TipLast => "tip_to_last_miner",
            Self::TipSpread => "tip_spread",
            Self::ShareAck => "share_ack",
            Self::ShareAckSent => "share_ack_from_sending",
            Self::Lateness => "load_lateness",
            Self::Verdict => "verdict",
            Self::Forward => "forward",
        }
    }

    /// What it is, in one line.
    pub(super) fn doc(self) -> &'static str {
        match self {
            Self::Setup => "connection due to SetupConnection.Success",
            Self::FirstJob => "connection due to the first job and its tip",
            Self::Tip => "block sent to the node to SetNewPrevHash, at each miner",
            Self::TipFirst => "block sent to the node to SetNewPrevHash at the first miner",
            Self::TipMedian => "block sent to the node to SetNewPrevHash at the median miner",
            Self::TipLast => "block sent to the node to SetNewPrevHash at the last miner",
            Self::TipSpread => "SetNewPrevHash at the first miner to each other one",
            Self::ShareAck => "share due to its answer",
            Self::ShareAckSent => "share sent to its answer",
            Self::Lateness => "share due to share sent: the load generator's own lateness",
            Self::Verdict => "template proposed to its verdict, at the gateway",
            Self::Forward => "share accepted to its result from the pool",
        }
    }
}

/// Longer latencies count as this long.
const LONGEST_US: u64 = 600_000_000;

/// So many samples must lie beyond a quantile for it to be said.
const BEYOND: f64 = 100.0;

/// The quantiles that are said where there are enough samples.
const QUANTILES: [(&str, f64); 6] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99_9", 0.999),
    ("p99_99", 0.9999),
];

/// One histogram a metric, in microseconds.
#[derive(Clone, Default)]
pub(super) struct Measures {
    histograms: BTreeMap<Metric, Histogram<u64>>,
}

/// A quantile with the bounds between which it lies with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Quantile {
    /// In microseconds.
    pub us: u64,
    /// The lower bound.
    pub low_us: u64,
    /// The upper bound.
    pub high_us: u64,
}

/// What the samples of a metric come to.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// What is measured.
    pub doc: &'static str,
    /// How many samples.
    pub count: u64,
    /// Their mean, in microseconds.
    pub mean_us: f64,
    /// Those quantiles beyond which at least 100 samples lie.
    pub quantiles: BTreeMap<&'static str, Quantile>,
    /// The largest sample, in microseconds.
    pub max_us: u64,
}

impl Measures {
    /// One sample.
    pub(super) fn record(&mut self, metric: Metric, took: Duration) {
        let histogram = self.histograms.entry(metric).or_insert_with(|| {
            Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds and digits are valid")
        });
        histogram.saturating_record(took.as_micros() as u64);
    }

    /// Adds the samples of others.
    pub(super) fn add(&mut self, other: &Self) {
        for (metric, samples) in &other.histograms {
            match self.histograms.get_mut(metric) {
                Some(own) => own.add(samples).expect("all histograms have the same bounds"),
                None => drop(self.histograms.insert(*metric, samples.clone())),
            }
        }
    }

    /// The samples of a metric, where there are any.
    pub(super) fn of(&self, metric: Metric) -> Option<&Histogram<u64>> {
        self.histograms.get(&metric)
    }

    /// Every metric that was measured.
    pub(super) fn summaries(&self) -> BTreeMap<&'static str, Summary> {
        let summary =
            |(metric, samples): (&Metric, _)| (metric.as_str(), summary(*metric, samples));
        self.histograms.iter().map(summary).collect()
    }

    /// The percentile tables that HdrHistogram's plotter reads, by name.
    pub(super) fn hgrm(&self) -> Vec<(&'static str, String)> {
        self.histograms.iter().map(|(metric, samples)| (metric.as_str(), hgrm(samples))).collect()
    }

    /// All histograms in HdrHistogram's interval log, one interval of `seconds` each.
    pub(super) fn hlog(&self, seconds: f64) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut serializer = V2Serializer::new();
        let mut log = IntervalLogWriterBuilder::new()
            .add_comment("latencies in microseconds")
            .begin_log_with(&mut bytes, &mut serializer)?;
        for (metric, samples) in &self.histograms {
            log.write_histogram(
                samples,
                Duration::ZERO,
                Duration::from_secs_f64(seconds),
                Tag::new(metric.as_str()),
            )
            .map_err(|error| std::io::Error::other(format!("{error:?}")))?;
        }
        drop(log);
        Ok(bytes)
    }
}

fn summary(metric: Metric, samples: &Histogram<u64>) -> Summary {
    let quantiles = QUANTILES
        .into_iter()
        .filter_map(|(name, share)| Some((name, quantile(samples, share)?)))
        .collect();
    Summary {
        doc: metric.doc(),
        count: samples.len(),
        mean_us: samples.mean(),
        quantiles,
        max_us: samples.max(),
    }
}

/// The quantile, where enough samples lie beyond it. The bounds are order statistics: the number
/// of samples below a quantile is binomial.
pub(super) fn quantile(samples: &Histogram<u64>, share: f64) -> Option<Quantile> {
    let count = samples.len() as f64;
    // Rounded, because a tenth is no binary fraction.
    if (count * (1.0 - share)).round() < BEYOND {
        return None;
    }
    let deviation = (share * (1.0 - share) / count).sqrt();
    let at = |share: f64| samples.value_at_quantile(share.clamp(0.0, 1.0));
    Some(Quantile {
        us: at(share),
        low_us: at(share - 1.96 * deviation),
        high_us: at(share + 1.96 * deviation),
    })
}

fn hgrm(samples: &Histogram<u64>) -> String {
    let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let mut below = 0;
    for step in samples.iter_quantiles(5) {
        below += step.count_since_last_iteration();
        let share = step.quantile_iterated_to();
        let value = step.value_iterated_to() as f64 / 1e3;
        let inverse = 1.0 / (1.0 - share);
        writeln!(text, "{value:12.3} {share:14.12} {below:10} {inverse:14.2}")
            .expect("writing to a String does not fail");
    }
    let (mean, deviation) = (samples.mean() / 1e3, samples.stdev() / 1e3);
    let (max, count) = (samples.max() as f64 / 1e3, samples.len());
    text.push_str(&format!(
        "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]\n\
         #[Max     = {max:12.3}, Total count    = {count:12}]\n"
    ));
    text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn thousand() -> Measures {
        let mut measures = Measures::default();
        for ms in 1..=1_000 {
            measures.record(Metric::ShareAck, Duration::from_millis(ms));
        }
        measures
    }

    #[rstest]
    #[case("p50", Some(500))]
    #[case("p90", Some(900))]
    #[case("p95", None)]
    #[case("p99", None)]
    fn a_quantile_needs_a_hundred_samples_beyond_it(
        #[case] name: &str,
        #[case] expect_ms: Option<u64>,
    ) {
        let summary = &thousand().summaries()["share_ack"];
        let found = summary.quantiles.get(name).map(|quantile| quantile.us.div_ceil(1_001));
        assert_eq!(found, expect_ms);
    }

    #[test]
    fn the_bounds_of_a_quantile_hold_it() {
        let measures = thousand();
        let median = quantile(measures.of(Metric::ShareAck).unwrap(), 0.5).unwrap();
        // 1.96 * sqrt(0.25 / 1000) is 3.1 %, which here is 31 ms.
        assert!((465_000..472_000).contains(&median.low_us), "{median:?}");
        assert!((528_000..535_000).contains(&median.high_us), "{median:?}");
    }

    #[test]
    fn the_logs_hold_what_was_measured() {
        use hdrhistogram::serialization::Deserializer;
        use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

        let measures = thousand();
        let bytes = measures.hlog(60.0).unwrap();
        let entries: Vec<_> =
            IntervalLogIterator::new(&bytes).collect::<Result<_, _>>().expect("a valid log");
        let LogEntry::Interval(interval) = &entries[entries.len() - 1] else {
            panic!("{entries:?}")
        };
        assert_eq!(interval.tag().unwrap().as_str(), "share_ack");
        let encoded = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            interval.encoded_histogram(),
        );
        let read: Histogram<u64> =
            Deserializer::new().deserialize(&mut encoded.unwrap().as_slice()).unwrap();
        assert_eq!(read.len(), 1_000);

        let (name, table) = &measures.hgrm()[0];
        assert_eq!(*name, "share_ack");
        assert!(table.contains("Total count    =         1000"), "{table}");
    }
}
