/// The module table of Package.swift, read as text: a test cannot import a manifest.
struct PackageTable {
    struct Row {
        let name: String
        let arrows: [String]
        /// The heading that the row stands under: `words`, `perimeter`, `doors`…
        let tier: String
        let line: Int
    }

    let rows: [Row]
    /// C libraries of the system.
    let systemLibraries: Set<String>
    /// C targets of our own.
    let cTargets: Set<String>
    /// Programs: they put modules together, or stand beside them.
    let executables: Set<String>
    /// Products of other packages that rows may name.
    let products: Set<String>

    /// Modules that may import every other: they put the rest together.
    static let free: Set<String> = ["hearth", "dev"]
    /// What comes with the toolchain.
    static let toolchain: Set<String> = ["Dispatch", "Foundation", "FoundationXML", "Glibc", "Synchronization"]

    init(_ manifest: String) {
        func names(_ pattern: Regex<(Substring, name: Substring)>) -> Set<String> {
            Set(manifest.matches(of: pattern).map { String($0.output.name) })
        }
        systemLibraries = names(#/\.systemLibrary\(\s*name: "(?<name>\w+)"/#)
        cTargets = names(#/\.target\(\s*name: "(?<name>C[A-Z]\w+)"/#)
        executables = names(#/\.executableTarget\(\s*name: "(?<name>[\w-]+)"/#)
        products = names(#/\.product\(\s*name: "(?<name>\w+)"/#)
        rows = manifest.matches(of: #/Module\(\s*"(?<name>\w+)",\s*"[^"]*",\s*\[(?<arrows>[^\]]*)\]/#).map { match in
            let before = manifest[..<match.range.lowerBound].split(separator: "\n", omittingEmptySubsequences: false)
            let heading = before.last { $0.contains(#/^\s*\/\/ \w/#) } ?? ""
            return Row(
                name: String(match.output.name),
                arrows: match.output.arrows.matches(of: #/"(\w+)"/#).map { String($0.output.1) },
                tier: String(heading.drop { !$0.isLetter }.prefix(while: \.isLetter)), line: before.count)
        }
    }

    func row(_ name: String) -> Row? { rows.first { $0.name == name } }

    /// What is wrong with the table itself.
    var problems: [String] {
        var problems: [String] = []
        var above: Set<String> = []
        for row in rows {
            func report(_ text: String) { problems.append("Package.swift:\(row.line): \(row.name) \(text)") }
            if above.contains(row.name) { report("has two rows; merge them") }
            for arrow in row.arrows {
                if systemLibraries.contains(arrow) {
                    if row.tier != "perimeter" { report("imports \(arrow); only rows under perimeter import C libraries") }
                } else if let target = rows.first(where: { $0.name == arrow }) {
                    if !above.contains(arrow) { report("draws an arrow down to \(arrow); arrows only point to rows above") }
                    if row.tier == "doors", target.tier == "doors" { report("imports \(arrow); no door imports another") }
                } else if !cTargets.contains(arrow), !products.contains(arrow) {
                    report("imports \(arrow), which is no row, no C target and no product of a package")
                }
            }
            above.insert(row.name)
        }
        for target in cTargets.union(systemLibraries).sorted() {
            let importers = rows.filter { $0.arrows.contains(target) }.map(\.name)
            if importers.count > 1 {
                problems.append("Package.swift: \(importers.joined(separator: " and ")) import \(target); one module wraps it")
            }
        }
        return problems
    }

    /// Imports of `file` that its module's row does not allow.
    func problems(in file: SourceFile) -> [String] {
        guard let module = file.module, file.isSwift else { return [] }
        let isFree = Self.free.contains(module)
        guard let allowed = isFree ? rows.map(\.name) : row(module)?.arrows else {
            return ["\(file.path):1: \(module) has no row in the table of Package.swift; give it one"]
        }
        return file.imports.compactMap { name, line in
            if Self.toolchain.contains(name) || allowed.contains(name) { return nil }
            // The load generator of `dev bench` waits on many connections; libuv would be part of what it measures.
            if module == "dev", name == "CEpoll" { return nil }
            if isFree, !cTargets.contains(name), !systemLibraries.contains(name) { return nil }
            return "\(file.path):\(line): \(module) may not import \(name); its row in Package.swift allows "
                + (isFree ? "everything but C" : allowed.joined(separator: ", "))
        }
    }
}
