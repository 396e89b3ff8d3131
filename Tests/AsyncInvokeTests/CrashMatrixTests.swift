import Foundation
import Testing
import TestSupport

/// A library that is loaded before the server's own, counts the transactions of one SQLite log and kills the process (as `kill -9` does) at
/// one of them: when its first byte is to be written, when all of it is written, or when it is on disk and nobody has heard of it.
private struct Killer {
    enum Moment: String, CaseIterable { case unwritten, written, synced }

    static let compiler: String? = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        .flatMap { path in ["clang", "cc"].map { "\(path)/\($0)" } }.first { (path: String) in access(path, X_OK) == 0 }

    private static let source = """
        #define _GNU_SOURCE
        #include <signal.h>
        #include <stdatomic.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/syscall.h>
        #include <sys/types.h>
        #include <unistd.h>
        static atomic_int transactions, is_open;
        static int is_log(int fd) {
            const char *name = getenv("KILL_FILE");
            char link[64], path[4096];
            if (!name) return 0;
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            ssize_t length = readlink(link, path, sizeof path - 1);
            if (length < 0) return 0;
            path[length] = 0;
            size_t tail = strlen(name);
            return (size_t)length > tail && !strcmp(path + length - tail, name);
        }
        static void at(char moment) {
            const char *where = getenv("KILL_AT");
            if (where && where[0] == moment && atoi(where + 1) == transactions) kill(getpid(), SIGKILL);
        }
        ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
            if (is_log(fd) && !atomic_exchange(&is_open, 1)) { transactions++; at('u'); }
            return syscall(SYS_pwrite64, fd, bytes, count, offset);
        }
        static int sync_of(int fd, long number) {
            if (!is_log(fd)) return syscall(number, fd);
            at('w');
            int result = syscall(number, fd);
            if (atomic_exchange(&is_open, 0)) at('s');
            return result;
        }
        int fdatasync(int fd) { return sync_of(fd, SYS_fdatasync); }
        int fsync(int fd) { return sync_of(fd, SYS_fsync); }
        """

    let library: String

    init(in directory: TemporaryDirectory) throws {
        try directory.write("killer.c", Self.source)
        library = directory.path + "/killer.so"
        let built = try run([try #require(Self.compiler), "-shared", "-fPIC", "-O1", "-o", library, directory.path + "/killer.c"])
        guard built.code == 0 else { throw TestFailure("\(built)") }
    }

    func environment(_ file: String, _ moment: Moment, _ number: Int) -> [String: String] {
        ["LD_PRELOAD": library, "KILL_FILE": file, "KILL_AT": "\(moment.rawValue.prefix(1))\(number)"]
    }
}

/// What is acknowledged survives a kill at any transaction: the server is killed at the first, the second, … of each kind of moment,
/// started again on what is left, and in the end everything that it has acknowledged has been done.
@Suite(.enabled(if: Killer.compiler != nil, "no C compiler here")) struct CrashMatrixTests {
    private let place: TemporaryDirectory
    private let killer: Killer
    private let config = "[sandbox]\nisolation = \"off\"\n[async]\nretry_delay = 1\n"
    private let arn = "arn:aws:lambda:us-east-1:000000000000:function:"

    init() throws {
        place = try TemporaryDirectory()
        chmod(place.path, 0o777)
        killer = try Killer(in: place)
    }

    /// How often `name` has been called with an event that holds each word.
    private func runs(_ name: String, _ word: String) -> Int {
        place.read(name).split(separator: "\n").filter { $0.contains("\"\(word)\"") }.count
    }

    /// Starts a server that is to be killed, lets `work` at it, and waits for its end; false: it outlived what there was to do.
    private func round(
        _ directory: TemporaryDirectory, _ functions: [TestFunction], _ file: String, _ moment: Killer.Moment, _ number: Int,
        _ work: (HearthProcess) throws -> Void
    ) throws -> Bool {
        let server: HearthProcess
        do {
            server = try HearthProcess(
                functions: functions, config: config, environment: killer.environment(file, moment, number), directory: directory)
        } catch is TestFailure { return true }
        try? work(server)
        let end = Date().addingTimeInterval(20)
        while server.child.status == nil, Date() < end {
            if (try? server.metric("hearth_async_queue_depth")) == 0 { break }
            usleep(20_000)
        }
        defer { try? server.killAtOnce() }
        return server.child.status != nil
    }

    @Test func noAcknowledgedEventIsLostAtAnyTransactionFromAcceptanceToItsEnd() throws {
        let functions = ["r", "told", "letters"].map { TestFunction.recorder($0, place) }
        let directory = try TemporaryDirectory()
        // The catalogue is synced as well: a deployment does not outlive its first one.
        #expect(try round(directory, functions, "catalog.sqlite-wal", .synced, 2) { _ in })
        do {
            let server = try HearthProcess(functions: functions, config: config, directory: directory)
            #expect(try server.call("PUT", "/outcomes", service: "s3").status == 200)
            let settings = #"{"MaximumRetryAttempts":1,"DestinationConfig":{"OnSuccess":{"Destination":"\#(arn)told"},"OnFailure":{"Destination":"arn:aws:s3:::outcomes"}}}"#
            #expect(try server.call("PUT", "/2019-09-25/functions/r/event-invoke-config", body: settings).status == 200)
            let letters = #"{"DeadLetterConfig":{"TargetArn":"\#(arn)letters"}}"#
            #expect(try server.call("PUT", "/2015-03-31/functions/r/configuration", body: letters).status == 200)
        }
        var good: [String] = []
        var bad: [String] = []
        var kills = 0
        for moment in Killer.Moment.allCases {
            for number in 1...8 {
                let wasKilled = try round(directory, functions, "events.sqlite-wal", moment, number) { server in
                    let event = [("X-Amz-Invocation-Type", "Event")]
                    let name = "\(moment)-\(number)"
                    if try server.invoke("r", #"{"id":"bad-\#(name)","fail":1}"#, headers: event).status == 202 { bad.append("bad-\(name)") }
                    if try server.invoke("r", #"{"id":"good-\#(name)"}"#, headers: event).status == 202 { good.append("good-\(name)") }
                }
                guard wasKilled else { break }
                kills += 1
            }
        }
        let server = try HearthProcess(functions: functions, config: config, directory: directory)
        try server.waitForMetric("hearth_async_queue_depth", [:], 0)
        let outcomes = try server.call("GET", "/outcomes", query: "list-type=2", service: "s3").text
        let told = outcomes.components(separatedBy: "<Key>aws/lambda/async/r/").count - 1
        print("crash matrix: \(kills) kills, \(good.count + bad.count) events acknowledged, \(told) outcomes in the bucket")
        #expect(kills >= 15 && good.count + bad.count >= 15, "\(kills) kills")
        // At least once; and again only where a kill came between.
        for id in good { #expect((1...1 + kills).contains(runs("r", id)) && runs("told", id) >= 1, "\(id)") }
        for id in bad { #expect((2...2 + kills).contains(runs("r", id)) && runs("letters", id) >= 1, "\(id): \(runs("r", id))") }
        #expect(told >= bad.count, "\(told) outcomes of \(bad.count) failures")
        let all = place.read("r").split(separator: "\n").count
        let once = good.count + 2 * bad.count
        #expect(all <= once + 6 * kills, "\(all) runs where \(once) were asked for, and \(kills) kills")
    }

    @Test func noAcknowledgedObjectIsWithoutItsEventAtAnyTransactionOfBothFiles() throws {
        let functions = [TestFunction.recorder("r", place, manifest: "[[on.object]]\nbucket = \"inbox\"")]
        let directory = try TemporaryDirectory()
        do { _ = try HearthProcess(functions: functions, config: config, directory: directory) }
        var acknowledged: [String] = []
        var kills = 0
        for file in ["meta.sqlite-wal", "events.sqlite-wal"] {
            for moment in Killer.Moment.allCases {
                for number in 1...3 {
                    let wasKilled = try round(directory, functions, file, moment, number) { server in
                        let key = "\(file.prefix(1))-\(moment)-\(number)"
                        if try server.call("PUT", "/inbox/\(key)", body: "x", service: "s3").status == 200 { acknowledged.append(key) }
                        // The event runs; then the outbox is emptied.
                        try waitFor("the event of \(key)", seconds: 10) { server.child.status != nil || runs("r", key) > 0 ? () : nil }
                        usleep(100_000)
                    }
                    if wasKilled { kills += 1 }
                }
            }
        }
        let server = try HearthProcess(functions: functions, config: config, directory: directory)
        for key in acknowledged { try waitFor("the event of \(key)") { runs("r", key) > 0 ? () : nil } }
        let all = place.read("r").split(separator: "\n").count
        print("crash matrix of objects: \(kills) kills, \(acknowledged.count) objects acknowledged, \(all) runs")
        try server.waitForMetric("hearth_async_queue_depth", [:], 0)
        #expect(kills >= 8 && acknowledged.count >= 8 && all <= 18 + 2 * kills, "\(kills) kills, \(all) runs")
    }
}
