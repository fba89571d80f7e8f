//! Scales from values to pixels, and where their grid lines are.

use std::fmt::Write;

/// The drawing's width and the margins around what is plotted, in pixels.
pub(crate) const WIDTH: f64 = 1000.0;
pub(crate) const LEFT: f64 = 78.0;
pub(crate) const RIGHT: f64 = 16.0;

/// Maps a range of values onto a range of pixels.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    from: (f64, f64),
    to: (f64, f64),
}

impl Scale {
    pub(crate) fn new(from: (f64, f64), to: (f64, f64)) -> Self {
        Self { from, to }
    }

    /// The whole width for virtual milliseconds from 0 to `duration_ms`.
    pub(crate) fn time(duration_ms: u64) -> Self {
        Self::new((0.0, (duration_ms.max(1)) as f64), (LEFT, WIDTH - RIGHT))
    }

    pub(crate) fn at(self, value: f64) -> f64 {
        let span = self.from.1 - self.from.0;
        let share = if span == 0.0 { 0.0 } else { (value - self.from.0) / span };
        self.to.0 + share.clamp(0.0, 1.0) * (self.to.1 - self.to.0)
    }
}

/// Round values from 0 to at least `max`, about `wanted` of them.
pub(crate) fn ticks(max: f64, wanted: f64) -> Vec<f64> {
    let rough = (max / wanted).max(f64::MIN_POSITIVE);
    let magnitude = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * magnitude)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(magnitude * 10.0);
    let count = (max / step).ceil().clamp(1.0, 1000.0) as u32;
    (0..=count).map(|index| f64::from(index) * step).collect()
}

/// A number without needless digits.
pub(crate) fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The axis of virtual time below a drawing, with its grid lines.
pub(crate) fn time_axis(svg: &mut String, duration_ms: u64, top: f64, bottom: f64) {
    let scale = Scale::time(duration_ms);
    let end = duration_ms.max(1) as f64 / 1000.0;
    for tick in ticks(end, 10.0).into_iter().filter(|tick| *tick <= end * 1.0001) {
        let x = scale.at(tick * 1000.0);
        writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} s</text>",
            bottom + 17.0,
            number(tick)
        )
        .expect("writing to a String does not fail");
    }
}

/// One horizontal grid line with its label at the left.
pub(crate) fn level(svg: &mut String, y: f64, label: &str) {
    writeln!(
        svg,
        "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
        WIDTH - RIGHT,
        LEFT - 9.0,
        y + 4.0
    )
    .expect("writing to a String does not fail");
}

/// Opens a drawing of this height, with a title for those who cannot see it.
pub(crate) fn open(height: f64, title: &str) -> String {
    format!(
        "<div class=\"scroll\"><svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{title}\">\n"
    )
}

pub(crate) const CLOSE: &str = "</svg></div>\n";

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(60.0, 10.0, 10.0, 60.0)]
    #[case(1.0, 5.0, 0.2, 1.0)]
    #[case(97.0, 5.0, 20.0, 100.0)]
    #[case(0.0, 5.0, 0.0, 0.0)]
    fn ticks_are_round_and_cover(
        #[case] max: f64,
        #[case] wanted: f64,
        #[case] step: f64,
        #[case] last: f64,
    ) {
        let ticks = ticks(max, wanted);
        assert!((ticks[1] - ticks[0] - step).abs() < 1e-9, "{ticks:?}");
        assert!((ticks[ticks.len() - 1] - last).abs() < 1e-9, "{ticks:?}");
    }
}
