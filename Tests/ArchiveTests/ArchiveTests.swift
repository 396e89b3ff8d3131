import Archive
import Foundation
import Testing

@Suite final class ArchiveTests {
    private let scratch = FileManager.default.temporaryDirectory.appendingPathComponent("hearth-\(UUID().uuidString)").path

    init() throws {
        try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: scratch) }

    private func make(_ files: [String: String], in name: String) throws -> String {
        let root = "\(scratch)/\(name)"
        for (path, text) in files {
            let file = URL(fileURLWithPath: "\(root)/\(path)")
            try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        return root
    }

    private func text(_ path: String) -> String? {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
    }

    @Test func whatIsPackedComesOutAgainAndTheBytesDependOnTheFilesOnly() throws {
        let root = try make(
            ["app.py": "x = 1", "lib/a/b.txt": "deep", "skip.log": "no", "keep.log": "yes", "__pycache__/c": "no",
             "function.toml": "no", "build/x": "no", "src/build": "file"], in: "package")
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: root + "/app.py")
        try FileManager.default.createSymbolicLink(atPath: root + "/link", withDestinationPath: "lib/a/b.txt")
        let rules = IgnoreRules("# logs\n*.log\n!keep.log\n/build/\n")
        let zip = try ZipArchive.pack(directory: root, ignoring: rules)
        try FileManager.default.setAttributes([.modificationDate: Date(timeIntervalSince1970: 1)], ofItemAtPath: root + "/app.py")
        #expect(try ZipArchive.pack(directory: root, ignoring: rules) == zip, "dates do not change the package")
        let out = scratch + "/out"
        try zip.withUnsafeBytes { try ZipArchive.unpack($0, into: out) }
        #expect(text(out + "/app.py") == "x = 1" && text(out + "/lib/a/b.txt") == "deep" && text(out + "/link") == "deep")
        #expect(text(out + "/keep.log") == "yes" && text(out + "/src/build") == "file")
        for absent in ["skip.log", "__pycache__", "function.toml", "build"] {
            #expect(!FileManager.default.fileExists(atPath: "\(out)/\(absent)"), "\(absent)")
        }
        let mode = try FileManager.default.attributesOfItem(atPath: out + "/app.py")[.posixPermissions] as? Int
        #expect(mode == 0o755)
    }

    @Test func laterDirectoriesLieOverEarlierOnesAndNothingIsWrittenThroughALink() throws {
        let outside = try make(["victim": "safe"], in: "outside")
        let first = try make(["a/one": "1", "a/both": "1", "file": "1", "tree/x": "1"], in: "first")
        let second = try make(["a/two": "2", "a/both": "2", "file/inner": "2", "link/victim": "2"], in: "second")
        let third = try make(["tree": "3"], in: "third")
        try FileManager.default.createSymbolicLink(atPath: first + "/link", withDestinationPath: outside)
        let target = scratch + "/all"
        try ZipArchive.overlay([first, second, third], in: target)
        #expect(text(target + "/a/one") == "1" && text(target + "/a/two") == "2" && text(target + "/a/both") == "2" && text(target + "/file/inner") == "2")
        #expect(text(target + "/link/victim") == "2" && text(outside + "/victim") == "safe" && text(target + "/tree") == "3")
        #expect(text(first + "/a/both") == "1" && text(first + "/tree/x") == "1", "what lies below is not changed")
        ZipArchive.removeTree(target)
        #expect(text(first + "/a/one") == "1" && text(outside + "/victim") == "safe")
        #expect(throws: ArchiveError.self) { try ZipArchive.overlay([scratch + "/nothing"], in: scratch + "/none") }
    }

    @Test func ignorePatternsMeanWhatTheyMeanInGit() {
        let cases: [(String, String, Bool, Bool)] = [
            ("*.pyc", "a/b.pyc", false, true), ("*.pyc", "a/b.py", false, false), ("a/*.c", "a/b.c", false, true),
            ("a/*.c", "a/b/c.c", false, false), ("a/**", "a/b/c.c", false, true), ("**/x", "a/b/x", false, true),
            ("**/x", "x", false, true), ("tmp/", "tmp", true, true), ("tmp/", "tmp", false, false),
            ("/top", "a/top", false, false), ("?.c", "a.c", false, true), ("a?b", "a/b", false, false),
        ]
        for (pattern, path, isDirectory, expected) in cases {
            #expect(IgnoreRules(pattern).ignores(path, isDirectory: isDirectory) == expected, "\(pattern) \(path)")
        }
    }

    /// Zips that an enemy would make, by Python's zipfile.
    @Test func hostilePackagesAreRefusedAndLeaveNothingBehind() throws {
        let cases: [(name: String, script: String, says: String)] = [
            ("up", "z.writestr('../evil', 'x')", "leads out"),
            ("absolute", "z.writestr('/etc/evil', 'x')", "absolute"),
            // libarchive reads backslashes as slashes where there are no slashes.
            ("backslash", #"z.writestr('a\\..\\b', 'x')"#, "leads out"),
            ("twice", "z.writestr('a', 'x'); z.writestr('./a', 'y')", "twice"),
            ("link-out", "link('l', '../../etc/passwd')", "link out"),
            ("link-absolute", "link('l', '/etc/passwd')", "link out"),
            ("link-through", "link('a/b', '..'); link('c', 'a/b/../../x')", "link out"),
            ("link-then-file", "link('d', 'e'); z.writestr('d/x', 'x')", "already"),
            ("bomb", "z.writestr('big', b'\\0' * 263000000)", "262144000"),
            ("many", "[z.writestr(str(i), '') for i in range(20001)]", "more entries"),
        ]
        let python = "python3"
        for (name, script, says) in cases {
            let path = "\(scratch)/\(name).zip"
            let program = """
                import zipfile, warnings
                warnings.simplefilter('ignore')
                z = zipfile.ZipFile('\(path)', 'w', zipfile.ZIP_DEFLATED)
                def link(name, target):
                    info = zipfile.ZipInfo(name); info.create_system = 3; info.external_attr = 0o120777 << 16
                    z.writestr(info, target)
                \(script)
                z.close()
                """
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = [python, "-c", program]
            try process.run()
            process.waitUntilExit()
            let zip = try #require(FileManager.default.contents(atPath: path).map { Array($0) }, "\(name)")
            let out = "\(scratch)/\(name)-out"
            var message = "nothing was refused"
            do { try zip.withUnsafeBytes { try ZipArchive.unpack($0, into: out) } } catch { message = "\(error)" }
            #expect(message.contains(says), "\(name): \(message)")
            #expect(!FileManager.default.fileExists(atPath: out), "\(name) left \(out) behind")
        }
        #expect(!FileManager.default.fileExists(atPath: scratch + "/evil"))
    }

    @Test func whatIsNoZipIsToldInLambdasWords() {
        for bytes in [[], [1, 2, 3], Array(repeating: UInt8(0), count: 100), Array("PK\u{5}\u{6}".utf8)] as [[UInt8]] {
            var message = ""
            do { _ = try bytes.withUnsafeBytes { try ZipArchive.check($0) } } catch { message = "\(error)" }
            #expect(message == "Could not unzip uploaded file. Please check your file, then try to upload again.", "\(bytes.count)")
        }
    }
}
