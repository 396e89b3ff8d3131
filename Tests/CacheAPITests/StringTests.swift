import Base
import Cache
import Testing

@testable import CacheAPI

@Suite struct StringTests {
    @Test func theCommandsOfStringsAnswerAsRedis() throws {  // semantic 7.5.43
        let client = try Face().client()
        #expect(
            client.check([
                ("GET k", "$-1|"), ("SET k v", "+OK|"), ("GET k", "$1|v|"), ("get k", "$1|v|"), ("SET k w NX", "$-1|"), ("SET n w XX", "$-1|"),
                ("SET k w XX GET", "$1|v|"), ("SET n 1 NX GET", "$-1|"), ("SET k x NX GET", "$1|w|"), ("GET k", "$1|w|"),
                ("SET k v NX XX", "-ERR syntax error|"), ("SET k v EX", "-ERR syntax error|"), ("SET k v EX 0", "-ERR invalid expire time in 'set' command|"),
                ("SET k v PX x", "-ERR value is not an integer or out of range|"), ("SET k v EX 1 PX 1", "-ERR syntax error|"),
                ("SET k v EX 9223372036854775807", "-ERR invalid expire time in 'set' command|"),
                ("SETNX k v", ":0|"), ("SETNX l v", ":1|"), ("GETSET l w", "$1|v|"), ("GETDEL l", "$1|w|"), ("GETDEL l", "$-1|"),
                ("MSET a 1 b 2", "+OK|"), ("MGET a x b", "*3|$1|1|$-1|$1|2|"), ("MSETNX b 3 c 4", ":0|"), ("MSETNX c 4", ":1|"),
                ("MSET a", "-ERR wrong number of arguments for 'mset' command|"), ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command|"),
                ("STRLEN a", ":1|"), ("STRLEN x", ":0|"), ("APPEND a 23", ":3|"), ("APPEND new x", ":1|"), ("GET a", "$3|123|"),
                ("GETRANGE a 0 -1", "$3|123|"), ("GETRANGE a -2 -1", "$2|23|"), ("GETRANGE a 5 9", "$0||"), ("GETRANGE a 1 0", "$0||"),
                ("SUBSTR a 0 0", "$1|1|"), ("GETRANGE a 0 99", "$3|123|"), ("SETRANGE a 1 xy", ":3|"), ("GET a", "$3|1xy|"),
                ("SETRANGE fresh 2 z", ":3|"), ("STRLEN fresh", ":3|"), ("SETRANGE none 5 ", ":0|"), ("EXISTS none", ":0|"),
                ("SETRANGE a -1 x", "-ERR offset is out of range|"), ("GET", "-ERR wrong number of arguments for 'get' command|"),
            ]) == [])
    }

    @Test func countersKeepToRedisNumbers() throws {
        let client = try Face().client()
        #expect(
            client.check([
                ("INCR n", ":1|"), ("INCRBY n 41", ":42|"), ("DECR n", ":41|"), ("DECRBY n 42", ":-1|"), ("SET n 9223372036854775807", "+OK|"),
                ("INCR n", "-ERR increment or decrement would overflow|"), ("SET n 01", "+OK|"), ("INCR n", "-ERR value is not an integer or out of range|"),
                ("SET n +1", "+OK|"), ("INCR n", "-ERR value is not an integer or out of range|"), ("DECRBY n -9223372036854775808", "-ERR decrement would overflow|"),
                ("SET f 3", "+OK|"), ("INCRBYFLOAT f 1.5", "$3|4.5|"), ("INCRBYFLOAT f -4.5", "$1|0|"), ("INCRBYFLOAT f 1e2", "$3|100|"),
                ("INCRBYFLOAT f x", "-ERR value is not a valid float|"), ("INCRBYFLOAT f 0.1", "$5|100.1|"),
                ("INCRBYFLOAT f inf", "-ERR increment would produce NaN or Infinity|"),
            ]) == [])
        let numbers: [(String, Int64?)] = [
            ("0", 0), ("-0", nil), ("00", nil), ("-1", -1), ("", nil), ("-", nil), ("9223372036854775807", .max), ("9223372036854775808", nil),
            ("-9223372036854775808", .min), ("-9223372036854775809", nil), ("99999999999999999999", nil), (" 1", nil), ("1 ", nil), ("1x", nil),
        ]
        #expect(numbers.filter { text, value in Array(text.utf8).withUnsafeBytes { Numbers.integer($0) } != value }.map(\.0) == [])
    }

    @Test func lifetimesAreExactToTheMillisecond() throws {  // semantics 7.1.6 and 7.5.43
        let face = try Face()
        let client = face.client()
        #expect(
            client.check([
                ("SET k v EX 10", "+OK|"), ("TTL k", ":10|"), ("PTTL k", ":10000|"), ("EXPIRETIME k", ":1700000010|"), ("PEXPIRETIME k", ":1700000010000|"),
                ("SET k w KEEPTTL", "+OK|"), ("PTTL k", ":10000|"), ("PERSIST k", ":1|"), ("PERSIST k", ":0|"), ("TTL k", ":-1|"), ("TTL none", ":-2|"),
                ("EXPIRE k 5", ":1|"), ("EXPIRE k 9 NX", ":0|"), ("EXPIRE k 4 GT", ":0|"), ("EXPIRE k 4 LT", ":1|"), ("EXPIRE k 6 XX", ":1|"),
                ("EXPIRE none 5", ":0|"), ("EXPIRE k 5 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible|"),
                ("EXPIRE k 5 no", "-ERR Unsupported option no|"), ("GETEX k PX 2000", "$1|w|"), ("PTTL k", ":2000|"), ("GETEX k PERSIST", "$1|w|"),
                ("PTTL k", ":-1|"), ("PEXPIREAT k 1700000001234", ":1|"), ("PEXPIRETIME k", ":1700000001234|"), ("SETEX s 1 v", "+OK|"),
                ("PSETEX p 1500 v", "+OK|"), ("SET x v PXAT 1700000000001", "+OK|"),
            ]) == [])
        face.pass(1)
        #expect(client.check([("GET x", "$-1|"), ("GET s", "$1|v|"), ("PTTL p", ":1499|")]) == [])
        face.pass(998)
        #expect(client.check([("GET s", "$1|v|"), ("DBSIZE", ":3|")]) == [])
        face.pass(1)
        #expect(client.check([("GET s", "$-1|"), ("DBSIZE", ":2|"), ("EXPIRE p -1", ":1|"), ("EXISTS p", ":0|"), ("EXPIREAT k 1", ":1|"), ("DBSIZE", ":0|")]) == [])
        // the wall clock steps back an hour: what was promised stays promised
        #expect(client.send("SET", "k", "v", "EX", "10") == "+OK|")
        face.service.clock.advance(to: face.now, epochMilliseconds: face.epoch - 3_600_000)
        #expect(client.check([("TTL k", ":10|"), ("EXPIRETIME k", ":1699996411|")]) == [])
    }

    @Test func whatDoesNotFitIsRefusedAndChangesNothing() throws {  // semantic 7.5.45
        let face = try Face(limitBytes: 1 << 20)
        let client = face.client()
        let big = String(repeating: "x", count: 200_000)
        #expect(client.send("SET", "k", "v") == "+OK|" && client.send("SET", "k", big).hasPrefix("-ERR this key and value"))
        #expect(client.send("SETRANGE", "k", "500000", "x").hasPrefix("-ERR this key") && client.send("APPEND", "k", big).hasPrefix("-ERR this key"))
        #expect(client.send("GET", "k") == "$1|v|" && client.send("CONFIG", "SET", "maxmemory-policy", "noeviction") == "+OK|")
        var stored = 0
        while client.send("SET", "k\(stored)", String(repeating: "y", count: 10_000)) == "+OK|", stored < 1_000 { stored += 1 }
        #expect(stored > 50 && stored < 1_000 && face.cache.usedBytes <= 1 << 20)
        #expect(client.send("SET", "more", String(repeating: "y", count: 10_000)) == "-OOM command not allowed when used memory > 'maxmemory'.|")
        #expect(client.check([("GET k", "$1|v|"), ("EXISTS more", ":0|"), ("CONFIG SET maxmemory-policy allkeys-lru", "+OK|")]) == [])
        #expect(client.send("SET", "more", String(repeating: "y", count: 10_000)) == "+OK|" && client.send("EXISTS", "more") == ":1|")
    }

    @Test func whoDripsARequestIsNotWaitedForAndWhoSendsMuchIs() {
        var patience = RequestPatience()
        #expect((0..<100).allSatisfy { patience.deadline(of: $0, at: 1000 + UInt64($0)) == 1031 }, "a byte a second ends at the 31st")
        patience.end()
        #expect(patience.deadline(of: 1, at: 1100) == 1131)
        patience.end()
        let pace = Limits.cacheRequestBytesPerSecondMin
        #expect((0..<500).allSatisfy { patience.deadline(of: $0 * pace, at: 2000 + UInt64($0)) > 2000 + UInt64($0) }, "32 MiB at that pace")
        #expect(patience.deadline(of: pace, at: 2040) == 2032)
    }
}
