import Cache
import Foundation
import Testing

@testable import CacheAPI

@Suite struct TransactionTests {
    @Test func commandsAreQueuedAndCarriedOutTogether() throws {
        let client = try Face().client()
        #expect(
            client.check([
                ("MULTI", "+OK|"), ("MULTI", "-ERR MULTI calls can not be nested|"), ("DISCARD", "+OK|"), ("MULTI", "+OK|"), ("SET a 1", "+QUEUED|"),
                ("INCR a", "+QUEUED|"), ("GET", "-ERR wrong number of arguments for 'get' command|"),
                ("EXEC", "-EXECABORT Transaction discarded because of previous errors.|"), ("GET a", "$-1|"), ("MULTI", "+OK|"), ("SET a x", "+QUEUED|"),
                ("INCR a", "+QUEUED|"), ("GET a", "+QUEUED|"), ("WATCH a", "-ERR WATCH inside MULTI is not allowed|"),
                ("EXEC", "*3|+OK|-ERR value is not an integer or out of range|$1|x|"), ("EXEC", "-ERR EXEC without MULTI|"),
                ("DISCARD", "-ERR DISCARD without MULTI|"), ("MULTI", "+OK|"), ("EXEC", "*0|"),
            ]) == [])
    }

    @Test func whatIsWatchedAndChangesKeepsATransactionFromBeingCarriedOut() throws {
        let face = try Face()
        let (client, other) = (face.client(), face.client())
        func outcome(_ changes: () -> Void) -> String {
            client.send("WATCH", "k", "none")
            changes()
            client.send("MULTI")
            client.send("PING")
            return client.send("EXEC")
        }
        other.send("SET", "k", "v", "PX", "100")
        let untouched = "*1|+PONG|"
        let touched = "*-1|"
        #expect(outcome {} == untouched && outcome { other.send("GET", "k") } == untouched)
        #expect(outcome { other.send("SET", "k", "w", "PX", "100") } == touched && outcome { other.send("SET", "none", "1") } == touched)
        #expect(outcome { client.send("SET", "k", "x", "PX", "100") } == touched, "its own change counts, too")
        #expect(outcome { face.pass(100) } == touched && outcome { face.pass(100) } == untouched, "expiry is a change, once")
        #expect(outcome { other.send("FLUSHALL") } == touched && outcome { other.send("FLUSHALL") } == untouched, "so is FLUSHALL, of what is there")
        other.send("SET", "k", "v")
        #expect(outcome { other.send("DEL", "nothing") } == untouched && outcome { other.send("DEL", "k") } == touched)
        #expect(outcome { client.send("UNWATCH"); other.send("SET", "k", "v") } == untouched)
        #expect(outcome { other.send("SELECT", "3"); other.send("SET", "k", "v"); other.send("SELECT", "0") } == untouched, "another database")
        #expect(outcome { other.send("SWAPDB", "0", "3") } == touched)
        face.cache.checkInvariants()
    }
}

@Suite struct PubSubTests {
    @Test func messagesReachWhoListensInBothProtocols() throws {
        let face = try Face()
        let (two, three, writer) = (face.client(), face.client(), face.client())
        #expect(two.check([("SUBSCRIBE a b", "*3|$9|subscribe|$1|a|:1|*3|$9|subscribe|$1|b|:2|"), ("PSUBSCRIBE x*", "*3|$10|psubscribe|$2|x*|:3|")]) == [])
        #expect(three.send("HELLO", "3").hasPrefix("%7|") && three.send("SUBSCRIBE", "a") == ">3|$9|subscribe|$1|a|:1|")
        #expect(writer.check([("PUBLISH a hi", ":2|"), ("PUBLISH xyz there", ":1|"), ("PUBLISH none x", ":0|")]) == [])
        #expect(two.read() == "*3|$7|message|$1|a|$2|hi|*4|$8|pmessage|$2|x*|$3|xyz|$5|there|" && three.read() == ">3|$7|message|$1|a|$2|hi|")
        #expect(
            two.send("GET", "k")
                == "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context|")
        #expect(two.send("PING") == "*2|$4|pong|$0||" && three.send("GET", "k") == "_|", "a client of RESP3 may do all")
        #expect(writer.check([("PUBSUB NUMSUB a b", "*4|$1|a|:2|$1|b|:1|"), ("PUBSUB NUMPAT", ":1|"), ("PUBSUB CHANNELS b*", "*1|$1|b|")]) == [])
        #expect(two.check([("PUNSUBSCRIBE", "*3|$12|punsubscribe|$2|x*|:2|"), ("UNSUBSCRIBE none", "*3|$11|unsubscribe|$4|none|:2|")]) == [])
        #expect(two.send("RESET") == "+RESET|" && two.send("GET", "k") == "$-1|" && writer.send("PUBLISH", "b", "x") == ":0|")
        three.close()
        #expect(writer.send("PUBLISH", "a", "x") == ":0|")
    }

    @Test func changesOfKeysAreEventsWhenAskedFor() throws {
        let face = try Face(limitBytes: 1 << 20)
        let (ear, client) = (face.client(), face.client())
        #expect(client.send("CONFIG", "SET", "notify-keyspace-events", "Q").hasPrefix("-ERR CONFIG SET failed"))
        #expect(client.send("CONFIG", "SET", "notify-keyspace-events", "KEA") == "+OK|")
        #expect(client.send("CONFIG", "GET", "notify-keyspace-events") == "*2|$22|notify-keyspace-events|$3|AKE|")
        ear.send("PSUBSCRIBE", "__key*")
        func events() -> [String] {
            ear.read().components(separatedBy: "*4|$8|pmessage|$6|__key*|").dropFirst().map { event in
                let parts = event.split(separator: "|").map(String.init)
                return parts[1].hasPrefix("__keyevent") ? "\(parts[1].dropFirst(10)) \(parts[3])" : ""
            }.filter { !$0.isEmpty }
        }
        client.send("SET", "k", "v", "PX", "50")
        client.send("APPEND", "k", "w")
        client.send("RENAME", "k", "l")
        client.send("PERSIST", "l")
        client.send("PEXPIRE", "l", "50")
        #expect(events() == ["@0__:set k", "@0__:expire k", "@0__:append k", "@0__:rename_to l", "@0__:rename_from k", "@0__:persist l", "@0__:expire l"])
        // semantic 7.5.44: without being asked, on time, and accounted for in INFO
        face.pass(49)
        #expect(events() == [])
        face.pass(1)
        #expect(events() == ["@0__:expired l"] && client.send("INFO", "stats").contains("expired_lag_usec_p99:"))
        for index in 0..<40 { client.send("SET", "big\(index)", String(repeating: "x", count: 40_000)) }
        #expect(events().contains { $0.hasPrefix("@0__:evicted big") })
    }
}
