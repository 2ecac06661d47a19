//! What a server describes of itself: its services, the files that declare them, and
//! the files that those import.

use std::collections::{HashMap, HashSet};

use protobuf::Message as _;
use protobuf::descriptor::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};
use protobuf::reflect::FileDescriptor;

use super::Described;

/// Made once; looked up by all streams.
pub struct Catalog {
    services: Vec<&'static str>,
    files: Vec<File>,
    by_name: HashMap<String, usize>,
    /// The file of each symbol, by its full name.
    symbols: HashMap<String, usize>,
}

struct File {
    encoded: Vec<u8>,
    imports: Vec<String>,
}

impl Catalog {
    pub fn new(services: impl IntoIterator<Item = Described>) -> Self {
        let mut catalog = Self {
            services: Vec::new(),
            files: Vec::new(),
            by_name: HashMap::new(),
            symbols: HashMap::new(),
        };
        for Described { name, file } in services {
            catalog.services.push(name);
            catalog.add(file);
        }
        catalog.services.sort_unstable();
        catalog
    }

    fn add(&mut self, file: &FileDescriptor) {
        let proto = file.proto();
        if self.by_name.contains_key(proto.name()) {
            return;
        }
        let number = self.files.len();
        self.by_name.insert(proto.name().to_owned(), number);
        self.files.push(File {
            encoded: proto
                .write_to_bytes()
                .expect("a file without required fields always encodes"),
            imports: proto.dependency.clone(),
        });
        symbols(proto, &mut |symbol| {
            self.symbols.insert(symbol, number);
        });
        for import in file.deps() {
            self.add(import);
        }
    }

    /// In alphabetical order.
    pub fn services(&self) -> &[&'static str] {
        &self.services
    }

    pub fn file(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The number of the file that declares this.
    pub fn file_with(&self, symbol: &str) -> Option<usize> {
        self.symbols.get(symbol).copied()
    }

    /// A file and all that it imports, encoded; without those that were `sent` before,
    /// but always with the file itself.
    pub fn with_imports(&self, file: usize, sent: &mut HashSet<usize>) -> Vec<Vec<u8>> {
        let mut found = vec![file];
        let mut next = 0;
        while let Some(&file) = found.get(next) {
            for import in self.files[file]
                .imports
                .iter()
                .filter_map(|it| self.file(it))
            {
                if !found.contains(&import) {
                    found.push(import);
                }
            }
            next += 1;
        }
        found.retain(|it| sent.insert(*it) || *it == file);
        let encoded = found.into_iter().map(|it| self.files[it].encoded.clone());
        encoded.collect()
    }
}

/// The full names of all that a file declares.
fn symbols(file: &FileDescriptorProto, add: &mut impl FnMut(String)) {
    let package = file.package();
    for message in &file.message_type {
        in_message(package, message, add);
    }
    for declared in &file.enum_type {
        in_enum(package, declared, add);
    }
    for extension in &file.extension {
        add(below(package, extension.name()));
    }
    for service in &file.service {
        let name = below(package, service.name());
        for method in &service.method {
            add(below(&name, method.name()));
        }
        add(name);
    }
}

fn in_message(scope: &str, message: &DescriptorProto, add: &mut impl FnMut(String)) {
    let name = below(scope, message.name());
    for field in message.field.iter().chain(&message.extension) {
        add(below(&name, field.name()));
    }
    for one in &message.oneof_decl {
        add(below(&name, one.name()));
    }
    for declared in &message.enum_type {
        in_enum(&name, declared, add);
    }
    for nested in &message.nested_type {
        in_message(&name, nested, add);
    }
    add(name);
}

/// An enum's values stand beside it, as in C++.
fn in_enum(scope: &str, declared: &EnumDescriptorProto, add: &mut impl FnMut(String)) {
    for value in &declared.value {
        add(below(scope, value.name()));
    }
    add(below(scope, declared.name()));
}

fn below(scope: &str, name: &str) -> String {
    if scope.is_empty() {
        return name.to_owned();
    }
    format!("{scope}.{name}")
}
