import Base
import Cache
import RESP
import Testing

@testable import CacheAPI

@Suite struct ServerTests {
    @Test func strangersSayWhoTheyAreFirst() throws {
        let face = try Face()
        let wrong = "-WRONGPASS invalid username-password pair or user is disabled.|"
        let stranger = face.client(.password)
        #expect(
            stranger.check([
                ("GET k", "-NOAUTH Authentication required.|"), ("CLIENT ID", "-NOAUTH Authentication required.|"), ("AUTH wrong", wrong),
                ("AUTH AKIA wrong", wrong), ("AUTH other secret", wrong), ("MULTI", "-NOAUTH Authentication required.|"), ("AUTH AKIA secret", "+OK|"), ("GET k", "$-1|"),
                ("RESET", "+RESET|"), ("GET k", "-NOAUTH Authentication required.|"), ("AUTH secret", "+OK|"), ("GET k", "$-1|"),
            ]) == [])
        let second = face.client(.password)
        #expect(second.send("HELLO", "3").hasPrefix("-NOAUTH HELLO must be called") && second.send("HELLO", "4") == "-NOPROTO unsupported protocol version|")
        #expect(second.send("HELLO", "3", "AUTH", "default", "secret", "SETNAME", "x").hasPrefix("%7|$6|server|"))
        #expect(second.send("CLIENT", "GETNAME") == "$1|x|" && second.send("GET", "k") == "_|" && second.send("QUIT") == "+OK|" && second.session.isClosing)
    }

    @Test func functionsHaveTheDataAndNothingElse() throws {
        let function = try Face().client(.function)
        let refused = "-NOPERM this command is for the node's owner, not for functions|"
        #expect(
            function.check([
                ("SET k v", "+OK|"), ("GET k", "$1|v|"), ("CONFIG GET *", refused), ("SLOWLOG GET", refused), ("DEBUG SLEEP 1", refused),
                ("SELECT 1", "-NOPERM functions may not see the node's other caches|"), ("SELECT 3", "+OK|"), ("SET k w", "+OK|"),
                ("CLIENT KILL ID 1", "-NOPERM this command is for the node's owner, not for functions|"),
            ]) == [])
    }

    @Test func otherCachesAreShownAndNotChanged() throws {
        var memo: NamespaceID?
        let face = try Face { memo = try $0.addNamespace(NamespaceSettings(name: "memo")) }
        let space = try #require(memo)
        Array("memo:f@1:x".utf8).withUnsafeBytes { key in
            Array("result".utf8).withUnsafeBytes { value in
                var policy = StorePolicy(.ttl(.seconds(60)))
                policy.staleIfError = .seconds(60)
                _ = face.cache.set(key, value, in: space, policy: policy, at: face.now)
            }
        }
        let client = face.client()
        #expect(
            client.check([
                ("SELECT 1", "+OK|"), ("KEYS *", "*1|$10|memo:f@1:x|"), ("GET memo:f@1:x", "$6|result|"), ("TTL memo:f@1:x", ":60|"), ("DBSIZE", ":1|"),
                ("SET a b", "-READONLY database 1 shows the node's memo cache and can only be read|"),
                ("FLUSHDB", "-READONLY database 1 shows the node's memo cache and can only be read|"),
                ("SELECT 2", "+OK|"), ("KEYS *", "*0|"), ("GET x", "$-1|"), ("SELECT 0", "+OK|"), ("SET k v", "+OK|"),
                ("MOVE k 1", "-READONLY database 1 is a view and can only be read|"), ("SWAPDB 0 1", "-READONLY a view cannot be exchanged for a database|"),
                ("FLUSHALL", "+OK|"), ("SELECT 1", "+OK|"), ("DBSIZE", ":1|"), ("SELECT 16", "-ERR DB index is out of range|"),
            ]) == [])
        face.pass(70_000)
        #expect(client.check([("GET memo:f@1:x", "$6|result|"), ("TTL memo:f@1:x", ":0|")]) == [], "stale is shown, as not fresh any more")
    }

    @Test func databasesAreApartAndCanChangePlaces() throws {
        let face = try Face()
        let client = face.client()
        #expect(
            client.check([
                ("SET k 0", "+OK|"), ("SELECT 3", "+OK|"), ("GET k", "$-1|"), ("SET k 3", "+OK|"), ("SWAPDB 0 3", "+OK|"), ("GET k", "$1|0|"),
                ("COPY k l DB 5", ":1|"), ("COPY k k", "-ERR source and destination objects are the same|"), ("COPY k l", ":1|"), ("COPY k l", ":0|"),
                ("COPY k l REPLACE", ":1|"), ("MOVE k 5", ":1|"), ("GET k", "$-1|"), ("RENAME l m", "+OK|"), ("RENAME l m", "-ERR no such key|"),
                ("RENAMENX m m", ":0|"), ("SELECT 5", "+OK|"), ("DBSIZE", ":2|"), ("FLUSHDB", "+OK|"), ("DBSIZE", ":0|"), ("RANDOMKEY", "$-1|"),
                ("SELECT 0", "+OK|"), ("GET k", "$1|3|"), ("TYPE k", "+string|"), ("TYPE none", "+none|"), ("OBJECT ENCODING k", "$3|int|"),
                ("SETRANGE e 0 1234", ":4|"), ("OBJECT ENCODING e", "$3|raw|"), ("SET e 1234", "+OK|"), ("OBJECT ENCODING e", "$3|int|"),
                ("APPEND e 5", ":5|"), ("OBJECT ENCODING e", "$3|raw|"), ("INCR e", ":12346|"), ("OBJECT ENCODING e", "$3|int|"), ("DEL e", ":1|"),
                ("KEYS [a-k]", "*1|$1|k|"), ("SCAN 0 MATCH x* COUNT 5000", "*2|$1|0|*0|"), ("SCAN x", "-ERR invalid cursor|"),
            ]) == [])
        for index in 0..<300 { client.send("SET", "key:\(index)", "v") }
        var found: Set<String> = []
        var cursor = "0"
        repeat {
            let parts = client.send("SCAN", cursor, "MATCH", "key:*", "COUNT", "7").split(separator: "|").map(String.init)
            cursor = parts[2]
            found.formUnion(parts.filter { $0.hasPrefix("key:") })
        } while cursor != "0"
        #expect(found.count == 300)
        #expect(
            client.check([
                ("SELECT 7", "+OK|"), ("SET lone v", "+OK|"), ("SCAN 0", "*2|$1|0|*1|$4|lone|"), ("SCAN 4294967295", "*2|$1|0|*0|"),
                ("SCAN 0 COUNT 9223372036854775807", "*2|$1|0|*1|$4|lone|"),
            ]) == [], "what is thin is walked at once")
        face.cache.checkInvariants()
    }

    @Test func theTableTellsOfEachCommandAndRefusesTheOthers() throws {
        let client = try Face().client()
        let table = CommandTable(Command.all)
        #expect(table.count == 83, "78 of tier A and five for scripts")
        var names: Set<String> = []
        for row in 0..<table.count {
            let name = "\(table.rows[row].name)"
            names.insert(name)
            #expect(table.find(name.uppercased()) == table.rows + row && table.rows[row].arity != 0, "\(name)")
        }
        #expect(names.count == table.count && ["ge", "gett", String(repeating: "x", count: 40)].allSatisfy { table.find($0) == nil })
        #expect(client.send("COMMAND", "COUNT") == ":\(table.count)|")
        #expect(client.send("COMMAND", "INFO", "get", "none") == "*2|*10|$3|get|:2|*2|+readonly|+fast|:1|:1|:1|*3|+@read|+@string|+@fast|*0|*0|*0|*-1|")
        #expect(client.send("COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2") == "*2|$1|a|$1|b|")
        #expect(client.send("COMMAND", "GETKEYS", "EVAL", "x", "2", "a", "b", "c") == "*2|$1|a|$1|b|" && client.send("COMMAND", "DOCS", "get").contains("summary"))
        let unknown = client.send("HSET", "h", "f", "v")
        #expect(unknown.hasPrefix("-ERR unknown command 'HSET', with args beginning with: 'h' 'f' 'v' ") && unknown.contains("Valkey"))
        #expect(client.send("CONFIG", "NONE") == "-ERR unknown subcommand 'none'. Try CONFIG HELP.|")
        // a page that was made to speak to this port
        #expect(client.send("POST", "/").hasPrefix("-ERR unknown command") && client.session.isClosing)
    }

    @Test func repliesCanBeSwitchedOffAndSlowCommandsAreKept() throws {
        let client = try Face().client()
        #expect(
            client.check([
                ("CLIENT REPLY SKIP", ""), ("PING", ""), ("PING", "+PONG|"), ("CLIENT REPLY OFF", ""), ("PING", ""), ("CLIENT REPLY ON", "+OK|"),
                ("CONFIG SET slowlog-log-slower-than 0", "+OK|"), ("SET k v", "+OK|"), ("CONFIG SET slowlog-log-slower-than -1", "+OK|"),
                ("SLOWLOG LEN", ":3|"), ("SLOWLOG RESET", "+OK|"), ("SLOWLOG LEN", ":0|"),
                ("CONFIG SET maxmemory 10mb maxmemory x", "-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - duplicate parameter|"),
                ("CONFIG SET none 1", "-ERR Unknown option or number of arguments for CONFIG SET - 'none'|"),
                ("CONFIG SET maxmemory-policy volatile-ttl", "+OK|"), ("CONFIG GET maxmemory-policy", "*2|$16|maxmemory-policy|$12|volatile-ttl|"),
                ("MEMORY USAGE none", "$-1|"), ("LATENCY LATEST", "*0|"), ("FUNCTION FLUSH", "+OK|"), ("TIME x", "-ERR wrong number of arguments for 'time' command|"),
            ]) == [])
        #expect(client.send("CLIENT", "LIST").contains("cmd=client|list") && client.send("INFO").contains("redis_version:7."))
    }

    @Test func dumpsAreThoseOfRedis() throws {
        let client = try Face().client()
        // what redis 7.0.15 gives for the value "hello"
        let dump: [UInt8] = [0, 5, 104, 101, 108, 108, 111, 10, 0]
        let whole = dump + withUnsafeBytes(of: dump.withUnsafeBytes { CRC64.of($0) }.littleEndian) { Array($0) }
        #expect(Array("123456789".utf8).withUnsafeBytes { CRC64.of($0) } == 0xE9C6_D914_C4B8_D9CA)
        client.send("SET", "k", "hello")
        let key = Array("k".utf8)
        let restore = Array("RESTORE".utf8)
        #expect(client.send([restore, Array("l".utf8), Array("0".utf8), whole]) == "+OK|" && client.send("GET", "l") == "$5|hello|")
        #expect(client.send([restore, key, Array("0".utf8), whole]) == "-BUSYKEY Target key name already exists.|")
        var broken = whole
        broken[3] ^= 1
        #expect(client.send([restore, Array("m".utf8), Array("0".utf8), broken]) == "-ERR DUMP payload version or checksum are wrong|")
        #expect(client.send([restore, key, Array("5000".utf8), whole, Array("REPLACE".utf8)]) == "+OK|" && client.send("PTTL", "k") == ":5000|")
        func sealed(_ body: [UInt8]) -> [UInt8] {
            let versioned = body + [9, 0]
            return versioned + withUnsafeBytes(of: versioned.withUnsafeBytes { CRC64.of($0) }.littleEndian) { Array($0) }
        }
        let forms: [([UInt8], String?)] = [
            ([0, 0xC0, 0xFF], "-1"), ([0, 0xC1, 0x39, 0x30], "12345"), ([0, 0xC2, 0, 0, 0, 0x80], "-2147483648"),
            ([0, 0xC3, 5, 10, 0, 97, 0xE0, 0, 0], "aaaaaaaaaa"), ([1, 0], nil), ([0, 5, 97], nil), ([0, 0xC3, 3, 9, 0xE0, 0, 0], nil),
            ([0, 0xC7], nil), ([0, 0x81] + [UInt8](repeating: 0xFF, count: 8), nil),
        ]
        for (body, value) in forms {
            let read = sealed(body).withUnsafeBytes { dump -> [UInt8]? in
                do throws(Fault) { return try SerializedString.read(dump) } catch { return nil }
            }
            #expect(read.map { String(decoding: $0, as: UTF8.self) } == value, "\(body)")
        }
    }

    @Test func patternsMatchAsInRedis() {
        let cases: [(String, String, Bool)] = [
            ("*", "", true), ("*", "abc", true), ("a*c", "abbc", true), ("a*c", "abb", false), ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true), ("h[^e]llo", "hello", false), ("h[^e]llo", "hxllo", true), ("h[a-c]llo", "hbllo", true), ("h[c-a]llo", "hbllo", true),
            ("\\*", "*", true), ("\\*", "x", false), ("[\\]]", "]", true), ("a[", "a", false), ("a[b", "ab", true), ("", "", true), ("", "a", false),
            ("**a", "ba", true),
        ]
        func matches(_ pattern: String, _ text: String) -> Bool {
            Array(pattern.utf8).withUnsafeBytes { pattern in Array(text.utf8).withUnsafeBytes { Glob.matches(pattern, $0) } }
        }
        #expect(cases.filter { matches($0.0, $0.1) != $0.2 }.map { "\($0.0) \($0.1)" } == [])
        // 10^15 steps if each star were tried against each place
        #expect(!matches(String(repeating: "a*", count: 40) + "b", String(repeating: "a", count: 200)))
    }
}

@Suite struct ScriptTests {
    /// By its digest: the scripts themselves are their authors'.
    private func digest(_ script: KnownScript) throws -> String {
        try #require(KnownScript.table.filter { $0.value == script }.keys.min())
    }

    @Test func locksWorkWithoutAnInterpreter() throws {
        let face = try Face()
        let client = face.client()
        let release = try digest(.release), extend = try digest(.extend), renew = try digest(.renew), add = try digest(.add)
        let acquire = try digest(.acquireAll), extendAll = try digest(.extendAll), releaseAll = try digest(.releaseAll)
        client.send("SET", "lock", "token", "PX", "1000")
        #expect(
            client.check([
                ("EVALSHA \(release) 1 lock other", ":0|"), ("EVALSHA \(extend) 1 lock token 500 0", ":1|"), ("PTTL lock", ":1500|"),
                ("EVALSHA \(extend) 1 lock token 500 1", ":1|"), ("PTTL lock", ":500|"), ("EVALSHA \(extend) 1 lock other 500 1", ":0|"),
                ("EVALSHA \(renew) 1 lock token 900", ":1|"), ("PTTL lock", ":900|"), ("EVALSHA \(release) 1 lock token", ":1|"), ("EXISTS lock", ":0|"),
                ("EVALSHA \(renew) 1 lock token 900", ":0|"), ("EVALSHA \(add) 1 lock v 10", "+OK|"), ("TTL lock", ":10|"), ("EVALSHA \(add) 1 lock w 10", "$-1|"),
                ("EVALSHA \(acquire) 2 a b t 1000", ":2|"), ("EVALSHA \(acquire) 2 b c t 1000", ":0|"), ("EXISTS c", ":0|"),
                ("EVALSHA \(extendAll) 2 a b t 2000", ":2|"), ("EVALSHA \(extendAll) 2 a b u 2000", ":0|"), ("PTTL a", ":2000|"),
                ("EVALSHA \(releaseAll) 3 a b c t", ":2|"), ("SCRIPT EXISTS \(release) 00", "*2|:1|:0|"), ("SCRIPT FLUSH", "+OK|"), ("SCRIPT EXISTS \(release)", "*1|:1|"),
                ("EVALSHA 0123456789012345678901234567890123456789 0", "-NOSCRIPT No matching script. Please use EVAL.|"),
                ("EVALSHA \(release) 3 lock token", "-ERR Number of keys can't be greater than number of args|"), ("EVALSHA_RO \(release) 1 lock v", "-ERR Write commands are not allowed from read-only scripts.|"),
                ("EVALSHA \(release) 0 v", "-ERR this script takes 1 keys and 1 arguments|"),
            ]) == [])
        let refused = "-ERR this cache runs no scripts but those of known lock libraries: scripts of your own need a real Valkey|"
        #expect(client.send("EVAL", "return 1", "0") == refused && client.send("SCRIPT", "LOAD", "return 1") == refused)
        #expect(KnownScript.table.keys.allSatisfy { $0.count == 40 && $0 == $0.lowercased() })
    }

    @Test func noOtherScriptIsEverAccepted() throws {
        var random = Random(seed: 11)
        let client = try Face().client()
        client.send("SET", "k", "t")
        let corpus = ["return 1", "return redis.call('get', KEYS[1])", "if redis.call(\"get\",KEYS[1]) == ARGV[1] then"].map { Array($0.utf8) }
        for _ in 0..<500 {
            var script = corpus[Int.random(in: 0..<corpus.count, using: &random)]
            script.insert(UInt8.random(in: 32...126, using: &random), at: Int.random(in: 0...script.count, using: &random))
            let reply = client.send([Array("EVAL".utf8), script, Array("1".utf8), Array("k".utf8), Array("t".utf8)])
            #expect(reply.hasPrefix("-ERR this cache runs no scripts"))
        }
        #expect(client.send("GET", "k") == "$1|t|")
    }
}
