//! The name that somebody may have meant.

use datafusion::common::utils::datafusion_strsim::levenshtein;

/// The most letters of a name that may be wrong: one in three, but not more than four.
fn wrong_letters_max(name: &str) -> usize {
    (name.chars().count() / 3).min(4)
}

/// The name nearest to `given`, if it is near at all.
pub(super) fn nearest<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distances = names.map(|name| (levenshtein(given, name), name));
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= wrong_letters_max(given)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_suggested() {
        let names = ["server.max_connections", "server.listen", "log.level"];
        let near = |given| nearest(given, names.into_iter());
        assert_eq!(near("server.max_conections"), Some(names[0]));
        assert_eq!(near("server.lisen"), Some(names[1]));
        assert_eq!(near("sever.listen"), Some(names[1]));
        assert_eq!(near("nonsense"), None);
    }
}
