import Foundation
import TestSupport
import Testing

/// Other people's S3 clients as they are installed, not modified.
@Suite struct ObjectClientTests {
    static let server = Result { try HearthProcess() }

    static func path(of program: String) -> String? {
        (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/\(program)" }.first { access($0, X_OK) == 0 }
    }

    static let rclone = path(of: "rclone")
    static let s3cmd = path(of: "s3cmd")
    static let restic = path(of: "restic")

    /// A directory with small files, odd names and one file of several parts.
    private func tree() throws -> TemporaryDirectory {
        let work = try TemporaryDirectory()
        for number in 0..<12 { try work.write("tree/d\(number % 3)/ä file+\(number)", "text \(number)") }
        try work.write("tree/empty", "")
        try work.write("tree/big", String(repeating: "0123456789abcdef", count: 1_100_000))
        return work
    }

    private func equal(
        _ work: TemporaryDirectory, _ one: String, _ other: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let difference = try run(["diff", "-r", one, other], directory: work.path)
        #expect(difference.code == 0, "\(difference)", sourceLocation: sourceLocation)
    }

    private func keys(_ bucket: String) throws -> Int {
        try Self.server.get().call("GET", "/\(bucket)", query: "list-type=2", service: "s3").text.components(separatedBy: "<Key>").count - 1
    }

    @Test(.enabled(if: rclone != nil, "no rclone here: apt-get install rclone"))
    func rcloneCopiesSyncsChecksMovesAndPurges() throws {
        let server = try Self.server.get()
        let work = try tree()
        let environment = [
            "RCLONE_CONFIG": "/dev/null", "AWS_CA_BUNDLE": "", "RCLONE_CONFIG_H_TYPE": "s3", "RCLONE_CONFIG_H_PROVIDER": "Other",
            "RCLONE_CONFIG_H_ENDPOINT": "http://\(server.api)", "RCLONE_CONFIG_H_ACCESS_KEY_ID": server.environment["AWS_ACCESS_KEY_ID"] ?? "",
            "RCLONE_CONFIG_H_SECRET_ACCESS_KEY": server.environment["AWS_SECRET_ACCESS_KEY"] ?? "",
            "RCLONE_CONFIG_H_REGION": server.environment["AWS_REGION"] ?? "", "RCLONE_S3_CHUNK_SIZE": "5Mi", "RCLONE_S3_UPLOAD_CUTOFF": "8Mi",
            "RCLONE_RETRIES": "1", "RCLONE_LOW_LEVEL_RETRIES": "1",
        ]
        func rclone(_ arguments: String...) throws -> CommandResult {
            try run([try #require(Self.rclone)] + arguments, directory: work.path, environment: environment, seconds: 120)
        }
        func holds(_ result: CommandResult, sourceLocation: SourceLocation = #_sourceLocation) {
            #expect(result.code == 0 && !result.err.contains("ERROR"), "\(result)", sourceLocation: sourceLocation)
        }
        holds(try rclone("mkdir", "h:rclone"))
        holds(try rclone("sync", "tree", "h:rclone/tree"))
        #expect(try keys("rclone") == 14)
        holds(try rclone("check", "tree", "h:rclone/tree"))
        holds(try rclone("copy", "h:rclone/tree", "back"))
        try equal(work, "tree", "back")
        // What is the same is not sent again; what is gone here goes there.
        try FileManager.default.removeItem(atPath: work.path + "/tree/d0")
        holds(try rclone("sync", "tree", "h:rclone/tree"))
        #expect(try keys("rclone") == 10)
        holds(try rclone("moveto", "h:rclone/tree/big", "h:rclone/moved"))
        let size = try rclone("size", "h:rclone", "--json")
        #expect(size.code == 0 && size.out.contains("\"count\":10") && size.out.contains("17600050"), "\(size)")
        #expect(try rclone("cat", "h:rclone/moved", "--offset", "17599990").out == "6789abcdef")
        holds(try rclone("purge", "h:rclone"))
        #expect(try server.call("HEAD", "/rclone", service: "s3").status == 404)
    }

    @Test(.enabled(if: s3cmd != nil, "no s3cmd here: apt-get install s3cmd"))
    func s3cmdPutsSyncsSignsAndRemoves() throws {
        let server = try Self.server.get()
        let work = try tree()
        try work.write(
            "s3cfg",
            """
            [default]
            access_key = \(server.environment["AWS_ACCESS_KEY_ID"] ?? "")
            secret_key = \(server.environment["AWS_SECRET_ACCESS_KEY"] ?? "")
            host_base = \(server.api)
            host_bucket = \(server.api)
            use_https = False
            bucket_location = \(server.environment["AWS_REGION"] ?? "")
            multipart_chunk_size_mb = 5
            """)
        func s3cmd(_ arguments: String...) throws -> CommandResult {
            try run([try #require(Self.s3cmd), "-c", "s3cfg", "--no-progress"] + arguments, directory: work.path, seconds: 120)
        }
        func holds(_ result: CommandResult, sourceLocation: SourceLocation = #_sourceLocation) {
            #expect(result.code == 0 && !result.err.contains("ERROR"), "\(result)", sourceLocation: sourceLocation)
        }
        holds(try s3cmd("mb", "s3://s3cmd"))
        holds(try s3cmd("sync", "tree/", "s3://s3cmd/tree/"))
        #expect(try keys("s3cmd") == 14)
        try FileManager.default.createDirectory(atPath: work.path + "/back", withIntermediateDirectories: true)
        holds(try s3cmd("sync", "s3://s3cmd/tree/", "back/"))
        try equal(work, "tree", "back")
        holds(try s3cmd("cp", "s3://s3cmd/tree/big", "s3://s3cmd/copy"))
        holds(try s3cmd("mv", "s3://s3cmd/copy", "s3://s3cmd/moved"))
        let listed = try s3cmd("ls", "s3://s3cmd")
        #expect(listed.out.contains("17600000") && listed.out.contains("s3://s3cmd/moved") && listed.out.contains("DIR"), "\(listed)")
        #expect(try s3cmd("info", "s3://s3cmd/moved").out.contains("File size: 17600000"))
        holds(try s3cmd("setacl", "s3://s3cmd/moved", "--acl-public"))
        holds(try s3cmd("rb", "--recursive", "--force", "s3://s3cmd"))
        #expect(try server.call("HEAD", "/s3cmd", service: "s3").status == 404)
    }

    @Test(.enabled(if: restic != nil, "no restic here: apt-get install restic"))
    func resticBacksUpChecksRestoresAndForgets() throws {
        let server = try Self.server.get()
        let work = try tree()
        let environment = [
            "AWS_ACCESS_KEY_ID": server.environment["AWS_ACCESS_KEY_ID"] ?? "", "AWS_SECRET_ACCESS_KEY": server.environment["AWS_SECRET_ACCESS_KEY"] ?? "",
            "AWS_DEFAULT_REGION": server.environment["AWS_REGION"] ?? "", "RESTIC_PASSWORD": "secret",
            "RESTIC_REPOSITORY": "s3:http://\(server.api)/restic/repository", "HOME": work.path,
        ]
        func restic(_ arguments: String...) throws -> CommandResult {
            try run(
                [try #require(Self.restic), "--no-cache", "-o", "s3.bucket-lookup=path"] + arguments, directory: work.path,
                environment: environment, seconds: 120)
        }
        func holds(_ result: CommandResult, sourceLocation: SourceLocation = #_sourceLocation) {
            #expect(result.code == 0, "\(result)", sourceLocation: sourceLocation)
        }
        holds(try restic("init"))
        holds(try restic("backup", "tree"))
        try work.write("tree/new", "later")
        holds(try restic("backup", "tree"))
        holds(try restic("check", "--read-data"))
        holds(try restic("restore", "latest", "--target", "back"))
        try equal(work, "tree", "back/tree")
        holds(try restic("forget", "--keep-last", "1", "--prune"))
        #expect(try restic("snapshots", "--json").out.components(separatedBy: "\"short_id\"").count == 2)
        holds(try restic("check"))
    }
}
