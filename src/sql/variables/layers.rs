//! The values of a session's variables: those of the session, those of the block above them, and how they go back.

use std::collections::BTreeMap;

/// Values by name, in the spelling of `pg_settings`.
type Values = BTreeMap<String, String>;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The client gave it when it connected.
    Client,
    /// SET in the session or its block.
    Session,
}

impl Source {
    /// The word of `pg_settings`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Client => "client",
            Self::Session => "session",
        }
    }
}

/// What a transaction block can take back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Layers {
    session: Values,
    /// SET LOCAL: above the session's values, until the block ends.
    local: Values,
}

/// The values that were set; names without one have their default.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    startup: Values,
    now: Layers,
    /// As they were when the block began, and at each of its savepoints.
    saved: Vec<Layers>,
}

impl Variables {
    /// The value of a variable, and where it comes from.
    pub fn get(&self, name: &str) -> (Option<&str>, Source) {
        let set = self
            .now
            .local
            .get(name)
            .or_else(|| self.now.session.get(name));
        match (set, self.startup.get(name)) {
            (Some(value), _) => (Some(value), Source::Session),
            (None, Some(value)) => (Some(value), Source::Client),
            (None, None) => (None, Source::Default),
        }
    }

    /// The value that RESET gives it, where that is not its default.
    pub fn reset_value(&self, name: &str) -> Option<&str> {
        self.startup.get(name).map(String::as_str)
    }

    /// Sets what the session begins with.
    pub fn set_startup(&mut self, name: &str, value: String) {
        self.startup.insert(name.to_string(), value);
    }

    /// Sets a variable, until the block ends where `local`.
    pub fn set(&mut self, name: &str, value: String, local: bool) {
        if local {
            self.now.local.insert(name.to_string(), value);
        } else {
            self.now.local.remove(name);
            self.now.session.insert(name.to_string(), value);
        }
    }

    /// Gives a variable what the session began with.
    pub fn reset(&mut self, name: &str) {
        self.now.local.remove(name);
        self.now.session.remove(name);
    }

    /// The names that have been set in the session or its block.
    pub fn names(&self) -> Vec<String> {
        let layers = [&self.startup, &self.now.session, &self.now.local];
        let mut names: Vec<String> = layers.into_iter().flat_map(|l| l.keys().cloned()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Remembers the values: a block begins, or a savepoint is made.
    pub fn save(&mut self) {
        self.saved.push(self.now.clone());
    }

    /// Forgets all but the first `kept` savepoints.
    pub fn release(&mut self, kept: usize) {
        self.saved.truncate(kept + 1);
    }

    /// Gives all variables the values that they had at the last of the first `kept` savepoints.
    pub fn roll_back_to(&mut self, kept: usize) {
        self.release(kept);
        if let Some(saved) = self.saved.last() {
            self.now = saved.clone();
        }
    }

    /// Ends the block: what SET LOCAL set goes, and without `commit` what SET set goes as well.
    pub fn end_block(&mut self, commit: bool) {
        let began = std::mem::take(&mut self.saved).into_iter().next();
        if let (false, Some(began)) = (commit, began) {
            self.now = began;
        }
        self.now.local.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(variables: &mut Variables, value: &str, local: bool) {
        variables.set("x", value.to_string(), local);
    }

    fn value(variables: &Variables) -> Option<&str> {
        variables.get("x").0
    }

    #[test]
    fn local_values_end_with_the_block() {
        let mut variables = Variables::default();
        variables.set_startup("x", "startup".into());
        assert_eq!(variables.get("x"), (Some("startup"), Source::Client));
        variables.save();
        set(&mut variables, "session", false);
        set(&mut variables, "local", true);
        assert_eq!(value(&variables), Some("local"));
        variables.end_block(true);
        assert_eq!(variables.get("x"), (Some("session"), Source::Session));
        variables.reset("x");
        assert_eq!(value(&variables), Some("startup"));
        assert_eq!(variables.get("y"), (None, Source::Default));
    }

    #[test]
    fn a_rollback_takes_values_back() {
        let mut variables = Variables::default();
        set(&mut variables, "before", false);
        variables.save();
        set(&mut variables, "block", false);
        variables.save();
        set(&mut variables, "savepoint", true);
        variables.save();
        set(&mut variables, "second savepoint", false);
        variables.roll_back_to(1);
        assert_eq!(value(&variables), Some("block"));
        variables.release(0);
        assert_eq!(value(&variables), Some("block"));
        variables.end_block(false);
        assert_eq!(value(&variables), Some("before"));
    }

    #[test]
    fn a_session_value_in_a_block_replaces_a_local_one() {
        let mut variables = Variables::default();
        variables.save();
        set(&mut variables, "local", true);
        set(&mut variables, "session", false);
        variables.end_block(true);
        assert_eq!(value(&variables), Some("session"));
    }
}
