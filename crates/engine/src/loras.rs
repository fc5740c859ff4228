//! Which adapters are loaded?
//!
//! Names and paths, with the numbers that events carry. Nothing is read from a path: compute is simulated, and to the
//! cache an adapter is its name and path.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::model::Lora;

/// Adapters at once; a list that only grows has to end somewhere.
const MAX_LOADED: usize = 10_000;

/// Adapters that can be asked for by name.
#[derive(Debug)]
pub(crate) struct Loras {
    loaded: RwLock<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    /// In order of loading.
    list: Vec<Lora>,
    next_id: u32,
}

/// Why an adapter was not loaded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(
        "The lora adapter '{0}' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True."
    )]
    Loaded(String),
    #[error("{MAX_LOADED} adapters are loaded, which is the most")]
    Full,
}

impl Loras {
    /// Those named at start, as `(name, path)`.
    pub(crate) fn new<'a>(named: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let list: Vec<Lora> = (1..).zip(named).map(numbered).collect();
        let next_id = list.len() as u32 + 1;
        Self {
            loaded: RwLock::new(Loaded { list, next_id }),
        }
    }

    pub(crate) fn list(&self) -> Vec<Lora> {
        self.loaded.read().list.clone()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Lora> {
        let loaded = self.loaded.read();
        loaded.list.iter().find(|lora| &*lora.name == name).cloned()
    }

    /// Adds one; `in_place` gives one of that name another path and leaves its number.
    pub(crate) fn load(&self, name: &str, path: &str, in_place: bool) -> Result<(), LoadError> {
        let mut loaded = self.loaded.write();
        if let Some(lora) = loaded.list.iter_mut().find(|lora| &*lora.name == name) {
            if !in_place {
                return Err(LoadError::Loaded(name.to_owned()));
            }
            lora.path = path.into();
            return Ok(());
        }
        if loaded.list.len() == MAX_LOADED {
            return Err(LoadError::Full);
        }
        let id = loaded.next_id;
        loaded.next_id += 1;
        loaded.list.push(numbered((id, (name, path))));
        Ok(())
    }

    /// Takes one away; requests that run with it end as they would have. False: there is none of that name.
    pub(crate) fn unload(&self, name: &str) -> bool {
        let mut loaded = self.loaded.write();
        let before = loaded.list.len();
        loaded.list.retain(|lora| &*lora.name != name);
        loaded.list.len() < before
    }
}

fn numbered((id, (name, path)): (u32, (&str, &str))) -> Lora {
    Lora {
        name: Arc::from(name),
        path: Arc::from(path),
        id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_never_given_twice() {
        let loras = Loras::new([("a", "/a"), ("b", "/b")].into_iter());
        let seen = |loras: &Loras| -> Vec<(String, String, u32)> {
            let list = loras.list().into_iter();
            list.map(|lora| (lora.name.to_string(), lora.path.to_string(), lora.id))
                .collect()
        };
        let row = |name: &str, path: &str, id| (name.to_owned(), path.to_owned(), id);
        assert_eq!(
            loras.load("a", "/x", false),
            Err(LoadError::Loaded("a".to_owned()))
        );
        assert_eq!(loras.load("a", "/x", true), Ok(()));
        assert!(loras.unload("b") && !loras.unload("b"));
        assert_eq!(loras.load("c", "/c", false), Ok(()));
        assert_eq!(seen(&loras), [row("a", "/x", 1), row("c", "/c", 3)]);
        assert_eq!(loras.find("b"), None);
        for index in 2..MAX_LOADED {
            loras.load(&index.to_string(), "/", false).unwrap();
        }
        assert_eq!(loras.load("one more", "/", false), Err(LoadError::Full));
    }
}
