import Testing
@testable import Cache
@Test func search() {
    for seed in 1...200 {
        let t = Trace.invocations(varied: true, drift: false, seed: UInt64(seed))
        for row in PolicyTests.costRows[0..<2] {
            let c = t.footprint * row.percent / 100
            var a = LRU(t, capacity: c), b = Sieve(t, capacity: c), d = S3FIFO(t, capacity: c); var l = LGD(t, capacity: c)
            let x = Misses(t, &a), y = Misses(t, &b), z = Misses(t, &d), w = Misses(t, &l)
            let worst = max(abs(x.objects - row.lru.0), abs(x.cost - row.lru.1), abs(y.objects - row.sieve.0), abs(y.cost - row.sieve.1), abs(z.objects - row.s3fifo.0), abs(z.cost - row.s3fifo.1), abs(w.objects - row.lgd.0), abs(w.cost - row.lgd.1))
            if worst < 0.0098 { print("COST", row, seed, worst) }
        }
    }
}
