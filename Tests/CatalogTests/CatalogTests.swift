import Catalog
import Foundation
import Testing

@Suite final class CatalogTests {
    private let directory = FileManager.default.temporaryDirectory.appendingPathComponent("hearth-\(UUID().uuidString)").path

    init() throws { try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true) }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    private func open(_ path: String? = nil) throws -> Catalog { try Catalog(directory: path ?? directory) }
    private let settings = FunctionSettings(runtime: "python3", handler: "app.handler")
    private let one: [UInt8] = Array("one".utf8), two: [UInt8] = Array("two".utf8)

    private func refusal(_ body: () throws -> Void) -> CatalogError? {
        do { try body() } catch { return error as? CatalogError }
        return nil
    }

    @Test func unchangedCodeAndSettingsMakeNoNewVersion() throws {
        let catalog = try open()
        let first = try catalog.createFunction("f", settings: settings, zip: one, at: 1).1
        #expect(try catalog.update("f", zip: one, at: 2).1.rowID == first.rowID, "the same code")
        #expect(try catalog.publishVersion("f").1.number == 1)
        #expect(try catalog.publishVersion("f", description: "again").1.number == 1, "a description is no change")
        #expect(try catalog.update("f", settings: { $0.timeout = 9 }, at: 3).1.rowID != first.rowID)
        #expect(try catalog.publishVersion("f").1.number == 2)
        #expect(try catalog.update("f", zip: two, publish: true, at: 4).1.number == 3)
        try catalog.deleteVersion("f", number: 2)
        #expect(try catalog.update("f", zip: one, publish: true, at: 5).1.number == 4, "numbers are never used again")
        let entry = try #require(catalog.snapshot.function(named: "f"))
        #expect(entry.versions.keys.sorted() == [1, 3, 4] && entry.versions[1]?.rowID == first.rowID)
        #expect(entry.versions[1]?.settings.timeout == 3 && entry.latest.settings.timeout == 9)
    }

    @Test func namesResolveAsInLambda() throws {
        let catalog = try open()
        _ = try catalog.createFunction("f", settings: settings, zip: one, publish: true, at: 1)
        _ = try catalog.update("f", zip: two, publish: true, at: 2)
        _ = try catalog.moveAlias("live", of: "f", to: 1, provisioned: 2)
        let entry = try #require(catalog.snapshot.function(named: "f"))
        #expect(entry.resolve(qualifier: nil)?.executedVersion == "$LATEST")
        #expect(entry.resolve(qualifier: "$LATEST")?.version === entry.latest && entry.latest === entry.versions[2], "one row, one pool")
        #expect(entry.resolve(qualifier: "1")?.version === entry.versions[1])
        #expect(entry.resolve(qualifier: "live")?.executedVersion == "1" && entry.front.executedVersion == "1")
        #expect(entry.resolve(qualifier: "3") == nil && entry.resolve(qualifier: "gone") == nil && entry.provisioned == ["live": 2])
        let moved = try catalog.moveAlias("live", of: "f", to: 2).1
        #expect(moved.previous == 1 && catalog.snapshot.function(named: "f")?.provisioned == ["live": 2], "concurrency stays")
        #expect(try catalog.moveAlias("live", of: "f", to: 2).1.previous == 1, "a move to the same version forgets nothing")
        for name in ["", "g", "ff", "F", String(repeating: "f", count: 200)] { #expect(catalog.snapshot.function(named: name) == nil) }
    }

    @Test func whatMustNotBeIsRefusedAndChangesNothing() throws {
        let catalog = try open()
        let (entry, _) = try catalog.createFunction("f", settings: settings, zip: one, publish: true, at: 1)
        _ = try catalog.moveAlias("live", of: "f", to: 1, provisioned: 3)
        let before = catalog.snapshot.function(named: "f")?.latestRevisionID
        #expect(refusal { _ = try catalog.createFunction("f", settings: settings, zip: one, at: 1) } == .functionExists("f"))
        #expect(refusal { _ = try catalog.update("g", zip: one, at: 1) } == .functionNotFound("g"))
        #expect(refusal { _ = try catalog.update("f", zip: two, revision: "x", at: 1) } == .revisionMismatch)
        #expect(refusal { _ = try catalog.moveAlias("live", of: "f", to: 9) } == .versionNotFound(function: "f", version: "9"))
        #expect(refusal { _ = try catalog.moveAlias("b", of: "f", to: 1, mustExist: true) } == .aliasNotFound(function: "f", alias: "b"))
        #expect(refusal { _ = try catalog.moveAlias("live", of: "f", to: 1, mustExist: false) } == .aliasExists(function: "f", alias: "live"))
        #expect(refusal { try catalog.deleteVersion("f", number: 1) } == .versionInUse(function: "f", version: "1"))
        #expect(
            refusal { _ = try catalog.publishVersion("f", codeSha256: "x") }
                == .codeShaMismatch(given: "x", current: entry.latest.codeDigest))
        if case .invalid? = refusal({ try catalog.setReserved(2, of: "f") }) {} else { Issue.record("reserved below provisioned") }
        #expect(catalog.snapshot.function(named: "f")?.latestRevisionID == before)
        _ = try catalog.update("f", zip: two, revision: before, at: 2)
        #expect(catalog.snapshot.function(named: "f")?.latestRevisionID != before)
    }

    @Test func whatIsSetForAnAliasOrAVersionGoesWithIt() throws {
        let catalog = try open()
        _ = try catalog.createFunction("f", settings: settings, zip: one, publish: true, at: 1)
        _ = try catalog.update("f", zip: two, publish: true, at: 2)
        _ = try catalog.moveAlias("live", of: "f", to: 2, provisioned: 2)
        try catalog.setProvisioned(1, of: "f", qualifier: "1")
        for qualifier in ["live", "1", "$LATEST"] { try catalog.setEventInvoke(EventInvokeSettings(), of: "f", qualifier: qualifier) }
        try catalog.deleteAlias("live", of: "f")
        try catalog.deleteVersion("f", number: 1)
        let entry = try #require(catalog.snapshot.function(named: "f"))
        #expect(entry.provisioned.isEmpty && Array(entry.eventInvoke.keys) == ["$LATEST"], "\(entry.provisioned) \(entry.eventInvoke)")
        try catalog.setEventInvoke(nil, of: "f", qualifier: "$LATEST")
        #expect(refusal { try catalog.setEventInvoke(nil, of: "f", qualifier: "$LATEST") } == .eventInvokeNotFound(function: "f", qualifier: "$LATEST"))
    }

    @Test func anAliasSharesItsInvocationsOutByWeight() throws {
        let catalog = try open()
        _ = try catalog.createFunction("f", settings: settings, zip: one, publish: true, at: 1)
        _ = try catalog.update("f", zip: two, publish: true, at: 2)
        let half = AliasWeight.share(VersionWeight(version: 2, share: 0.25))
        _ = try catalog.moveAlias("live", of: "f", to: 1, weight: half, provisioned: 5)
        func now() -> FunctionEntry? { catalog.snapshot.function(named: "f") }
        func version(_ draw: UInt64) -> String? { now()?.resolve(qualifier: "live", draw: draw)?.executedVersion }
        // The draw is a share of 2^64: below a quarter it is the other version's.
        #expect(version(0) == "2" && version(.max / 4 - 4096) == "2" && version(.max / 4 + 4096) == "1" && version(.max) == "1")
        let entry = try #require(now())
        #expect(entry.front(draw: 0).executedVersion == "2" && entry.front.executedVersion == "1")
        #expect(entry.resolve(qualifier: "1", draw: 0)?.executedVersion == "1")
        #expect(entry.provisionedShares(of: "live").map(\.count) == [4, 1] && entry.provisionedShares(of: "2").isEmpty)
        #expect(refusal { try catalog.deleteVersion("f", number: 2) } == .versionInUse(function: "f", version: "2"))
        let seven = AliasWeight.share(VersionWeight(version: 7, share: 1))
        #expect(refusal { _ = try catalog.moveAlias("live", of: "f", to: 1, weight: seven) } == .versionNotFound(function: "f", version: "7"))
        _ = try catalog.moveAlias("live", of: "f", to: 1, weight: .keep, description: "kept")
        #expect(version(0) == "2", "what is kept stays")
        _ = try catalog.moveAlias("live", of: "f", to: 2)
        #expect(version(0) == "2" && version(.max) == "2" && now()?.provisionedShares(of: "live").map(\.count) == [5])
        _ = try catalog.moveAlias("new", of: "f", to: AliasEntry.latest)
        #expect(catalog.snapshot.function(named: "f")?.resolve(qualifier: "new")?.executedVersion == "$LATEST")
    }

    @Test func urlsPoliciesTagsAndLayersAreKeptAndGoWithTheirOwner() throws {
        do {
            let catalog = try open()
            let layer = try catalog.publishLayer("l", zip: two, settings: LayerSettings(), at: 1)
            var layered = settings
            layered.layers = [LayerReference(arn: "arn", digest: layer.digest, size: layer.size, unzipped: 9)]
            _ = try catalog.createFunction("f", settings: layered, zip: one, publish: true, tags: ["a": "b"], opensURL: true, at: 1)
            let first = catalog.snapshot.function(named: "f")?.latestRevisionID
            try catalog.editTags(of: "f") { $0["c"] = "d" }
            let second = catalog.snapshot.function(named: "f")?.latestRevisionID
            #expect(first != second && refusal { try catalog.editTags(of: "f") { for n in 0..<51 { $0["\(n)"] = "" } } } != nil)
            #expect(refusal { try catalog.editPolicy(of: "f", qualifier: "1", revision: "x") { _ in } } == .policyRevisionMismatch)
            try catalog.editPolicy(of: "f", qualifier: "1", revision: nil) { $0.append(PolicyStatement(sid: "s", action: "*", principal: "*")) }
            try catalog.deleteLayerVersion("l", 1)
        }
        let catalog = try open()
        let entry = try #require(catalog.snapshot.function(named: "f"))
        #expect(entry.tags == ["a": "b", "c": "d"] && entry.frontURL?.isOpen == true && entry.policies["1"]?.statements.map(\.sid) == ["s"])
        let question = AccessQuestion(.service("s3.amazonaws.com"), "lambda:InvokeFunction")
        #expect(entry.permits(question, qualifier: "1") && !entry.permits(question) && !entry.permits(question, qualifier: "2"))
        let digest = try #require(entry.latest.settings.layers?.first?.digest)
        #expect(try catalog.layerVersions().isEmpty && catalog.code(digest: digest) == two, "a version keeps its layers")
        #expect(try catalog.publishLayer("l", zip: one, settings: LayerSettings(), at: 2).number == 2, "numbers are never used again")
        try catalog.setURL(URLSettings(auth: FunctionURL.signed, at: 3), of: "f", qualifier: FunctionEntry.own)
        #expect(catalog.snapshot.function(named: "f")?.frontURL?.isOpen == false)
        try catalog.setURL(nil, of: "f", qualifier: FunctionEntry.own)
        #expect(catalog.snapshot.function(named: "f")?.frontURL == nil)
        #expect(refusal { try catalog.setURL(nil, of: "f", qualifier: FunctionEntry.own) } == .urlNotFound)
        try catalog.deleteFunction("f")
        #expect(try catalog.code(digest: digest) == nil, "nothing names it any more")
        _ = try catalog.createFunction("f", settings: settings, zip: one, at: 4)
        let again = try #require(catalog.snapshot.function(named: "f"))
        #expect(again.tags.isEmpty && again.urls.isEmpty && again.policies.isEmpty, "a new function of the old name has nothing of the old one")
    }

    @Test func deletedFunctionsLeaveNoCodeBehind() throws {
        let catalog = try open()
        let digest = try catalog.createFunction("f", settings: settings, zip: one, publish: true, at: 1).1.codeDigest
        #expect(try catalog.code(digest: digest) == one)
        _ = try catalog.update("f", zip: two, at: 2)
        let unpublished = try #require(catalog.snapshot.function(named: "f")?.latest.codeDigest)
        _ = try catalog.update("f", zip: Array("three".utf8), at: 3)
        #expect(try catalog.code(digest: unpublished) == nil, "nothing names it any more")
        #expect(try catalog.code(digest: digest) == one, "version 1 still does")
        try catalog.deleteFunction("f")
        #expect(try catalog.code(digest: digest) == nil && catalog.snapshot.functions.isEmpty)
    }

    /// What `kill -9` leaves is what is on the disk: the files are copied right after each acknowledged write, with the
    /// catalogue still open, and the copy must hold all of them.
    @Test func acknowledgedWritesAreInACopyOfTheFilesAtAnyMoment() throws {
        let catalog = try open()
        // A copy tells of the kernel's memory, this of the disk.
        #expect(catalog.isSynced)
        for step in 1...25 {
            if step == 1 {
                _ = try catalog.createFunction("f", settings: settings, zip: one, publish: true, at: 1)
            } else {
                _ = try catalog.update("f", zip: Array("code \(step)".utf8), publish: true, at: Int64(step))
                _ = try catalog.moveAlias("live", of: "f", to: step, provisioned: step)
            }
            let copy = "\(directory)/copy-\(step)"
            try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: true)
            for file in ["catalog.sqlite", "catalog.sqlite-wal"] where FileManager.default.fileExists(atPath: "\(directory)/\(file)") {
                try FileManager.default.copyItem(atPath: "\(directory)/\(file)", toPath: "\(copy)/\(file)")
            }
            let entry = try #require(try open(copy).snapshot.function(named: "f"), "step \(step)")
            try #require(entry.versions.count == step && (step == 1 || entry.aliases["live"]?.version == step), "step \(step)")
        }
    }

    @Test func aSecondHearthAndADamagedFileAreToldInOneSentence() throws {
        let catalog = try open()
        if case .storage(let sentence)? = refusal({ _ = try open() }) {
            #expect(sentence.contains("another Hearth uses this data directory"))
        } else { Issue.record("a second catalogue opened the same directory") }
        withExtendedLifetime(catalog) {}
        let damaged = directory + "/damaged"
        try FileManager.default.createDirectory(atPath: damaged, withIntermediateDirectories: true)
        try Data(repeating: 7, count: 9000).write(to: URL(fileURLWithPath: damaged + "/catalog.sqlite"))
        if case .storage(let sentence)? = refusal({ _ = try open(damaged) }) {
            #expect(sentence.contains("cannot open \(damaged)/catalog.sqlite"))
        } else { Issue.record("a damaged file was opened") }
        if case .storage? = refusal({ _ = try open("/nowhere/at/all") }) {} else { Issue.record("a missing directory was opened") }
    }

    @Test func changesAreHeardInOrderWithTheWholeCatalogue() throws {
        let catalog = try open()
        let heard = Heard()
        catalog.onChange { snapshot in heard.counts.append(snapshot.functions.count) }
        for n in 1...5 { _ = try catalog.createFunction("f\(n)", settings: settings, zip: one, at: 1) }
        try catalog.deleteFunction("f3")
        #expect(heard.counts == [1, 2, 3, 4, 5, 4])
        // What has not changed is the same object before and after, so that nobody need look at it.
        let before = catalog.snapshot
        _ = try catalog.createFunction("f0", settings: settings, zip: two, at: 1)
        try catalog.setReserved(3, of: "f2")
        try catalog.deleteFunction("f5")
        let changes = catalog.snapshot.changes(since: before).map { "\($0.old?.name ?? "-") \($0.new?.name ?? "-") \($0.new?.reserved ?? 0)" }
        #expect(changes == ["- f0 0", "f2 f2 3", "f5 - 0"] && catalog.snapshot.changes(since: catalog.snapshot).isEmpty)
        #expect(CatalogSnapshot.empty.changes(since: before).map { $0.old?.name } == ["f1", "f2", "f4", "f5"])
    }
}

/// Written on the catalogue's queue, read when all writes have returned.
private final class Heard: @unchecked Sendable { var counts: [Int] = [] }
