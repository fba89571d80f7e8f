//! Delta debugging (Zeller and Hildebrandt, 2002): fewest parts of a list that still fail.

/// A part of the list without any single item of which it no longer fails, as far as `fails` lets
/// itself be asked: it answers `None` when there have been enough questions.
pub(super) fn ddmin<T: Clone>(
    items: Vec<T>,
    mut fails: impl FnMut(&[T]) -> Option<bool>,
) -> Vec<T> {
    let mut kept = items;
    if kept.is_empty() || fails(&[]) == Some(true) {
        return Vec::new();
    }
    let mut parts = 2;
    while kept.len() >= 2 {
        let size = kept.len().div_ceil(parts);
        let mut smaller = None;
        for start in (0..kept.len()).step_by(size) {
            let end = (start + size).min(kept.len());
            let part = kept[start..end].to_vec();
            let rest = [&kept[..start], &kept[end..]].concat();
            // With two parts, one's rest is the other.
            let candidates =
                if parts == 2 { vec![(part, 2)] } else { vec![(part, 2), (rest, parts - 1)] };
            for (candidate, next) in candidates {
                match fails(&candidate) {
                    None => return kept,
                    Some(true) => {
                        smaller = Some((candidate, next));
                        break;
                    }
                    Some(false) => {}
                }
            }
            if smaller.is_some() {
                break;
            }
        }
        match smaller {
            Some((candidate, next)) => (kept, parts) = (candidate, next.max(2)),
            None if size == 1 => return kept,
            None => parts = (parts * 2).min(kept.len()),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&[])]
    #[case(&[7])]
    #[case(&[0, 37])]
    #[case(&[3, 4, 20])]
    #[case(&[0, 9, 18, 27, 36])]
    fn exactly_the_guilty_are_left(#[case] guilty: &[u32]) {
        let mut asked = 0;
        let left = ddmin((0..38).collect(), |items| {
            asked += 1;
            Some(guilty.iter().all(|one| items.contains(one)))
        });
        assert_eq!(left, guilty);
        assert!(asked < 200, "{asked} questions");
    }

    #[test]
    fn what_was_found_is_kept_when_the_questions_are_used_up() {
        let mut questions = 6;
        let left = ddmin((0..64).collect(), |items: &[u32]| {
            questions -= 1;
            (questions > 0).then(|| items.contains(&63))
        });
        assert!(left.contains(&63) && left.len() < 64, "{left:?}");
    }
}
