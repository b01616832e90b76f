//! Which directories are watched, and where they are now.

use std::collections::BTreeMap;

#[derive(Default)]
pub struct Tree {
    /// Paths by the watches' numbers.
    paths: BTreeMap<i32, Vec<u8>>,
}

/// The path of `name` in a directory; the directory itself for an empty one.
pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match (directory, name) {
        (directory, b"") => directory.to_vec(),
        (b"/", name) => [b"/", name].concat(),
        (directory, name) => [directory, b"/", name].concat(),
    }
}

/// What is below `directory` on the way to `path`: empty for the directory itself, None for a path elsewhere.
fn below<'a>(path: &'a [u8], directory: &[u8]) -> Option<&'a [u8]> {
    path.strip_prefix(directory).filter(|rest| rest.is_empty() || rest.starts_with(b"/") || directory == b"/")
}

impl Tree {
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    pub fn path(&self, watch: i32) -> Option<&[u8]> {
        self.paths.get(&watch).map(Vec::as_slice)
    }

    pub fn insert(&mut self, watch: i32, path: Vec<u8>) {
        self.paths.insert(watch, path);
    }

    pub fn remove(&mut self, watch: i32) {
        self.paths.remove(&watch);
    }

    /// A directory has another path now, and so has everything below.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) {
        for path in self.paths.values_mut() {
            if let Some(rest) = below(path, from) {
                *path = [to, rest].concat();
            }
        }
    }

    /// A directory is gone, and everything below. Returns the watches that were there.
    pub fn cut(&mut self, path: &[u8]) -> Vec<i32> {
        let watches: Vec<i32> =
            self.paths.iter().filter(|(_, known)| below(known, path).is_some()).map(|(&watch, _)| watch).collect();
        watches.iter().for_each(|watch| self.remove(*watch));
        watches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&[u8]]) -> Tree {
        let mut tree = Tree::default();
        paths.iter().zip(1..).for_each(|(path, watch)| tree.insert(watch, path.to_vec()));
        tree
    }

    fn paths(tree: &Tree) -> Vec<String> {
        tree.paths.values().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
    }

    #[test]
    fn all_below_a_directory_goes_with_it() {
        let mut tree = tree(&[b"/a", b"/a/b", b"/a/b/c", b"/a/bc", b"/a/d"]);
        tree.rename(b"/a/b", b"/a/d/e");
        assert_eq!(paths(&tree), ["/a", "/a/d/e", "/a/d/e/c", "/a/bc", "/a/d"]);
        assert_eq!(tree.cut(b"/a/d"), [2, 3, 5]);
        assert_eq!(paths(&tree), ["/a", "/a/bc"]);
        assert_eq!(tree.cut(b"/a/b"), []);
        assert_eq!((tree.len(), tree.path(1), tree.path(2)), (2, Some(&b"/a"[..]), None));
    }

    #[test]
    fn the_root_is_above_everything() {
        assert_eq!(join(b"/", b"a"), b"/a");
        assert_eq!(join(b"/a", b"b"), b"/a/b");
        assert_eq!(join(b"/a", b""), b"/a");
        assert_eq!(tree(&[b"/", b"/a", b"/a/b"]).cut(b"/"), [1, 2, 3]);
    }
}
