import Foundation
import Testing

/// The house rules, held against the tree that these tests were compiled from.
@Suite struct TidyTests {
    private let repository: Repository
    private let table: PackageTable

    init() throws {
        repository = try Repository.here.get()
        table = PackageTable(try #require(repository.text("Package.swift")))
    }

    private func expectNone(_ problems: [String]) {
        if !problems.isEmpty { Issue.record("\(problems.count) to mend\n\(problems.joined(separator: "\n"))") }
    }

    @Test func arrowsOfTheModuleTablePointUp() throws {
        #expect(table.rows.count > 10 && table.systemLibraries.contains("CUV") && table.cTargets.contains("CSandbox"))
        let known = Set(table.rows.map(\.name)).union(table.cTargets).union(table.systemLibraries).union(table.executables)
        let directories = try repository.names(in: "Sources")
        expectNone(
            table.problems
                + directories.filter { !known.contains($0) }.map { "Sources/\($0) has no row in the table of Package.swift" }
                + known.subtracting(PackageTable.free).subtracting(directories).sorted().map { "Sources/\($0) is missing" })
    }

    @Test func theArchitecturePageShowsTheModuleTable() throws {
        let page = try #require(repository.text("Sources/hearth/hearth.docc/Architecture.md"))
        let cells = page.split(separator: "\n").map { line in
            line.split(separator: "|", omittingEmptySubsequences: false).map { $0.trimmingCharacters(in: .whitespaces) }
        }
        // Tier, name, purpose, arrows: no other table of the page has four columns. Its head takes two lines.
        let shown = cells.filter { $0.count == 6 }.dropFirst(2).map { "\($0[2]): \($0[4])" }
        let wanted = table.rows.map { "\($0.name): \($0.arrows.isEmpty ? "–" : $0.arrows.joined(separator: ", "))" }
        #expect(shown == wanted)
    }

    @Test func importsFollowTheModuleTable() {
        #expect(repository.files.filter { !$0.imports.isEmpty }.count > 50)
        expectNone(repository.files.flatMap(table.problems))
    }

    @Test func filesAreShortAndSpeakTheHousesWords() {
        expectNone(repository.files.flatMap(Rules.problems))
    }

    @Test func theTopLevelHoldsNothingElse() throws {
        let ignored = (repository.text(".gitignore") ?? "").split(separator: "\n").map { $0.drop { $0 == "/" } }
        let belongs: Set<String> = ["Package.swift", "Sources", "Tests", "functions", "runtime.toml", "README.md"]
        expectNone(
            try repository.names(in: ".").filter { !$0.hasPrefix(".") && !belongs.contains($0) && !ignored.contains($0[...]) }
                .map { "\($0) does not belong at the top: only \(belongs.sorted().joined(separator: ", ")) and dot files do" })
    }

    @Test func whoeverHoldsAPromiseExists() {
        guard let specification = repository.text(Promises.path) else { return }
        expectNone(Promises(specification).problems(in: repository.files))
    }
}

/// The rules themselves: each finds what it is there for, and says so with file and line.
@Suite struct TidyRulesTests {
    private static let manifest = """
        let modules: [Module] = [
            // words
            Module("Base", "a [word]", []),
            // perimeter: the only importers of C
            Module("UV", "libuv", ["Base", "CUV"]),
            // policy: pure
            Module("Pool", "workers", ["Base", "Door", "CUV"]),
            // doors: one protocol each
            Module("Door", "a door", ["Base", "GRDB", "Nothing"]),
            Module(
                "Gate", "another",
                [
                    "Base", "Door",
                ]),
            .systemLibrary(name: "CUV", pkgConfig: "libuv"),
            .target(name: "CSandbox"),
            .product(name: "GRDB", package: "GRDB.swift")
        """

    @Test func aBadTableIsToldLineByLine() {
        let table = PackageTable(Self.manifest)
        #expect(table.rows.map(\.tier) == ["words", "perimeter", "policy", "doors", "doors"])
        #expect(
            table.problems == [
                "Package.swift:7: Pool draws an arrow down to Door; arrows only point to rows above",
                "Package.swift:7: Pool imports CUV; only rows under perimeter import C libraries",
                "Package.swift:9: Door imports Nothing, which is no row, no C target and no product of a package",
                "Package.swift:10: Gate imports Door; no door imports another",
                "Package.swift: UV and Pool import CUV; one module wraps it",
            ])
    }

    @Test func aForbiddenImportIsFoundInEveryForm() {
        let table = PackageTable(Self.manifest)
        func check(_ module: String, _ text: String) -> [String] {
            table.problems(in: SourceFile(path: "Sources/\(module)/File.swift", text: text))
        }
        #expect(check("UV", "internal import Base\npackage import CUV\nimport Glibc\n// import Door\nlet a = \"import Door\"").isEmpty)
        for line in ["import Door", "  @preconcurrency package import Door", "@_exported import struct Door.Handle", "import Door // why"] {
            #expect(check("UV", "\n" + line) == ["Sources/UV/File.swift:2: UV may not import Door; its row in Package.swift allows Base, CUV"])
        }
        #expect(check("hearth", "import Door\nimport ArgumentParser").isEmpty)
        #expect(check("dev", "import CUV") == ["Sources/dev/File.swift:1: dev may not import CUV; its row in Package.swift allows everything but C"])
        #expect(check("Lost", "") == ["Sources/Lost/File.swift:1: Lost has no row in the table of Package.swift; give it one"])
    }

    @Test func wordsCodeAndLengthsAreFoundOutsideOfLiterals() {
        func check(_ text: String, _ path: String = "Sources/Pool/File.swift") -> [String] {
            Rules.problems(in: SourceFile(path: path, text: text))
        }
        let long = String(repeating: "x", count: 150)
        let fine = [
            "let a = \"TODO \\(f(\"fleet\")) try!\" + #\"\"backlog\" Task {\"#", "let a = \"\"\"\n  fleet \"jail\" \\(\"fleet\")\n  \"\"\"",
            "let bootstrap = keepSlash // Lambda's bootstrap, reboot", "let a = \"\(long)\"", "loop.task { }", "let a = #/\"fleet/#",
        ]
        for text in fine { #expect(check(text).isEmpty, "\(text)") }
        #expect(check("/* a /* b */ fleet */ let a = 1") == ["Sources/Pool/File.swift:1: \"fleet\"; the word here is: pool"])
        #expect(check("\nlet workerBacklogMax = 1") == ["Sources/Pool/File.swift:2: \"backlog\"; the word here is: queue"])
        #expect(check("// TODO: later") == ["Sources/Pool/File.swift:1: \"todo\"; the word here is: an issue"])
        #expect(check("let a = try! f()") == ["Sources/Pool/File.swift:1: try! instead of a thrown error"])
        #expect(check("let a = \"x\\(y)\" + z; Task { }") == ["Sources/Pool/File.swift:1: Task { instead of loop.task, which stays on the loop"])
        #expect(check("let now = Date()").count == 1 && check("let now = Date()", "Sources/hearth/File.swift").isEmpty)
        #expect(check("let \(long) = 1") == ["Sources/Pool/File.swift:1: 158 columns; at most 140"])
        #expect(check("raise('\(long)', \"it's \(long)\")", "Sources/Sandbox/worker.py").isEmpty)
        #expect(check(long, "Sources/CSandbox/spawn.c") == ["Sources/CSandbox/spawn.c:1: 150 columns; at most 140"])
        #expect(check(String(repeating: "\n", count: 601)) == ["Sources/Pool/File.swift: 601 lines; at most 600, so split it"])
    }

    @Test func aPromiseThatNobodyHoldsIsFound() {
        let promises = Promises(
            """
            `notInATable`
            | promise | figure | held by |
            |---|---|---|
            | warm | 32 µs of `nothing` | `dev bench warm-python`, `PoolTests/drains()` |
            | cold | 1 ms | `dev bench cold`, `PoolTests/lost` |

            | name | meaning |
            | `x` | `y` |
            """)
        let files = [
            SourceFile(path: "Sources/dev/Bench.swift", text: "Bench(\"warm-python\") { }"),
            SourceFile(path: "Tests/PoolTests/P.swift", text: "@Test func drains() {\n // lost, cold\n}"),
        ]
        #expect(
            promises.problems(in: files) == ["dev bench cold", "PoolTests/lost"].map {
                "\(Promises.path):5: `\($0)` holds a promise, but no test has that name and Sources/dev does not know it"
            })
    }
}
