//! What a frame leaves out.

use std::ops::Range;

/// Begins the text of a mark: no text that is written in SQL is like it by chance.
const PREFIX: &str = "\u{1}exclude ";

/// Rows that a frame leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd)]
pub(in crate::sql) enum Exclusion {
    /// The row itself.
    CurrentRow,
    /// The row and those that its window's order does not tell from it.
    Group,
    /// Those, without the row.
    Ties,
}

impl Exclusion {
    /// All of them.
    pub(in crate::sql) const ALL: [Self; 3] = [Self::CurrentRow, Self::Group, Self::Ties];

    /// The words behind EXCLUDE.
    pub(in crate::sql) fn words(self) -> &'static [&'static str] {
        match self {
            Self::CurrentRow => &["CURRENT", "ROW"],
            Self::Group => &["GROUP"],
            Self::Ties => &["TIES"],
        }
    }

    /// The text that stands for it in PARTITION BY.
    pub(in crate::sql) fn mark(self) -> String {
        format!("{PREFIX}{}", self.words().join(" "))
    }

    /// What a text stands for.
    pub(in crate::sql) fn of_mark(text: &str) -> Option<Self> {
        text.starts_with(PREFIX)
            .then(|| Self::ALL.into_iter().find(|e| e.mark() == text))
            .flatten()
    }

    /// The parts of `frame` that are left for `row`, whose peers are `peers`.
    pub(super) fn rest(
        self,
        frame: &Range<usize>,
        row: usize,
        peers: &Range<usize>,
    ) -> Vec<Range<usize>> {
        let parts = match self {
            Self::CurrentRow => vec![0..row, row + 1..usize::MAX],
            Self::Group => vec![0..peers.start, peers.end..usize::MAX],
            Self::Ties => vec![0..peers.start, row..row + 1, peers.end..usize::MAX],
        };
        let within = |part: Range<usize>| part.start.max(frame.start)..part.end.min(frame.end);
        let parts = parts.into_iter().map(within);
        parts.filter(|part| part.start < part.end).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Exclusion;

    #[test]
    fn what_is_left_of_a_frame() {
        let rest = |exclusion: Exclusion, frame| exclusion.rest(&frame, 4, &(3..6));
        assert_eq!(rest(Exclusion::CurrentRow, 2..8), [2..4, 5..8]);
        assert_eq!(rest(Exclusion::Group, 2..8), [2..3, 6..8]);
        assert_eq!(rest(Exclusion::Ties, 2..8), [2..3, 4..5, 6..8]);
        assert!(rest(Exclusion::Group, 3..5).is_empty());
        let behind = rest(Exclusion::CurrentRow, 6..9);
        assert!(behind.into_iter().eq(std::iter::once(6..9)));
    }

    #[test]
    fn marks_stand_for_what_they_are_of() {
        for exclusion in Exclusion::ALL {
            assert_eq!(Exclusion::of_mark(&exclusion.mark()), Some(exclusion));
        }
        assert_eq!(Exclusion::of_mark("exclude TIES"), None);
    }
}
