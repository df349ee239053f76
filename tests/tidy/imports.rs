//! Which file imports which: the graph of imports, and its circles.
//!
//! A file that names an item of another imports it, by a `use` or by a path in its code. A name
//! that a `mod.rs` passes on belongs to the file that defines it. Passing a name on is no import.

use std::collections::{BTreeMap, BTreeSet};

/// A source file as the imports see it.
struct Module {
    file: String,
    /// Names that it passes on, and the paths that they stand for.
    passed_on: BTreeMap<String, Vec<String>>,
    /// Paths to what it uses, from the root of the crate.
    used: Vec<Vec<String>>,
}

/// The imports between files.
pub(crate) struct Imports {
    modules: BTreeMap<Vec<String>, Module>,
}

impl Imports {
    /// Reads the imports of sources, which are pairs of a file's name below `src` and its text.
    pub(crate) fn of(sources: &[(String, String)]) -> Imports {
        let sources = sources.iter().filter(|(file, _)| !crate::is_test(file));
        let paths: Vec<_> = sources.map(|(file, text)| (path_of(file), file, text)).collect();
        let known: BTreeSet<&Vec<String>> = paths.iter().map(|(path, ..)| path).collect();
        let mut modules = BTreeMap::new();
        for (path, file, text) in &paths {
            let code = statements(text);
            let (mut passed_on, mut used) = (BTreeMap::new(), Vec::new());
            for statement in code.split(';') {
                let Some((is_passed_on, tree)) = use_tree(statement) else {
                    used.extend(inline_paths(statement));
                    continue;
                };
                for mut leaf in leaves(tree) {
                    let name = leaf.pop().unwrap();
                    let Some(leaf) = absolute(leaf, path, &known) else { continue };
                    if is_passed_on {
                        passed_on.insert(name.1, [leaf, vec![name.0]].concat());
                    } else {
                        used.push([leaf, vec![name.0]].concat());
                    }
                }
            }
            let file = (*file).clone();
            modules.insert(path.clone(), Module { file, passed_on, used });
        }
        Imports { modules }
    }

    /// The file that defines what a path names.
    fn defined_in(&self, path: &[String]) -> Option<&Vec<String>> {
        let mut path = path.to_vec();
        for _ in 0..20 {
            let depth = (0..=path.len()).rev().find(|n| self.modules.contains_key(&path[..*n]))?;
            let (module, rest) = path.split_at(depth);
            let (key, found) = self.modules.get_key_value(module)?;
            match rest.first().and_then(|name| found.passed_on.get(name)) {
                Some(behind) if *behind != path => path = [behind, &rest[1..]].concat(),
                _ => return Some(key),
            }
        }
        None
    }

    /// The groups of files that import each other, each as one line.
    pub(crate) fn circles(&self) -> Vec<String> {
        let mut edges: BTreeMap<&Vec<String>, BTreeSet<&Vec<String>>> = BTreeMap::new();
        for (path, module) in &self.modules {
            let targets = module.used.iter().filter_map(|used| self.defined_in(used));
            edges.insert(
                path,
                targets.filter(|target| *target != path && !target.is_empty()).collect(),
            );
        }
        let reached = |from: &Vec<String>| {
            let (mut seen, mut left) = (BTreeSet::new(), vec![from.clone()]);
            while let Some(at) = left.pop() {
                for to in edges.get(&at).into_iter().flatten() {
                    if seen.insert((*to).clone()) {
                        left.push((*to).clone());
                    }
                }
            }
            seen
        };
        let reach: BTreeMap<&Vec<String>, BTreeSet<Vec<String>>> =
            edges.keys().map(|path| (*path, reached(path))).collect();
        let mut circles = BTreeSet::new();
        for (path, seen) in &reach {
            if seen.contains(*path) {
                let members = seen.iter().filter(|other| reach[other].contains(*path));
                let files: Vec<&str> = members.map(|other| &*self.modules[other].file).collect();
                circles.insert(files.join(" "));
            }
        }
        circles.into_iter().collect()
    }
}

/// The path of a file's module from the root of the crate.
fn path_of(file: &str) -> Vec<String> {
    let stem = file.trim_end_matches(".rs").trim_end_matches("/mod");
    if stem == "lib" { Vec::new() } else { stem.split('/').map(str::to_owned).collect() }
}

/// The code of a file without comments and without its tests.
fn statements(text: &str) -> String {
    crate::code(text).map(|line| line.split(" //").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The tree of a `use`, and whether it passes names on.
fn use_tree(statement: &str) -> Option<(bool, &str)> {
    let line = statement.rfind("\nuse ").map(|at| (false, at + 5));
    let line = line.or_else(|| statement.starts_with("use ").then_some((false, 4)));
    let passing = ["\npub use ", "\npub(crate) use ", "\npub(super) use "];
    let passed =
        passing.iter().find_map(|begin| Some((true, statement.rfind(begin)? + begin.len())));
    let (is_passed_on, at) = passed.or(line)?;
    Some((is_passed_on, statement[at..].trim()))
}

/// A name, and what it is called here.
type Named = (String, String);

/// The leaves of a tree of `use`, each a path whose last part has its local name.
fn leaves(tree: &str) -> Vec<Vec<Named>> {
    let tree = tree.trim();
    let both = |name: &str| (name.to_owned(), name.to_owned());
    let Some(open) = tree.find('{') else {
        let mut parts: Vec<Named> = tree.split("::").map(|part| both(part.trim())).collect();
        let (name, local) = match parts.last().unwrap().0.split_once(" as ") {
            Some((name, local)) => (name.trim().to_owned(), local.trim().to_owned()),
            None => parts.last().unwrap().clone(),
        };
        parts.pop();
        parts.push((name, local));
        return vec![parts];
    };
    let prefix: Vec<Named> =
        tree[..open].split("::").map(str::trim).filter(|part| !part.is_empty()).map(both).collect();
    let inner = &tree[open + 1..tree.rfind('}').unwrap()];
    let (mut found, mut depth, mut begun) = (Vec::new(), 0, 0);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = inner[begun..at].trim();
                begun = at + 1;
                if part == "self" {
                    found.push(prefix.clone());
                } else if !part.is_empty() {
                    found.extend(
                        leaves(part).into_iter().map(|leaf| [prefix.clone(), leaf].concat()),
                    );
                }
            }
            _ => {}
        }
    }
    found
}

/// A path from the root of the crate, unless it leads out of the crate.
fn absolute(
    leaf: Vec<Named>,
    here: &[String],
    known: &BTreeSet<&Vec<String>>,
) -> Option<Vec<String>> {
    let names: Vec<String> = leaf.into_iter().map(|(name, _)| name).collect();
    match names.first().map(String::as_str) {
        Some("crate") => Some(names[1..].to_vec()),
        Some("self") => Some([here, &names[1..]].concat()),
        Some("super") => Some([&here[..here.len().saturating_sub(1)], &names[1..]].concat()),
        Some(first) => {
            let child = [here, &[first.to_owned()]].concat();
            known.contains(&child).then(|| [here, &names].concat())
        }
        None => None,
    }
}

/// The paths from the root of the crate that code names outside of a `use`.
fn inline_paths(code: &str) -> Vec<Vec<String>> {
    let ends = |c: char| !(c.is_alphanumeric() || c == '_' || c == ':');
    let paths = code.split("crate::").skip(1);
    let paths = paths.map(|path| path.split(ends).next().unwrap().trim_end_matches(':'));
    paths.map(|path| path.split("::").map(str::to_owned).collect()).collect()
}
