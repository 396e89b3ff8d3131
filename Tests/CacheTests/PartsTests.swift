import Base
import Testing

@testable import Cache

/// The parts below the store, each against something naive.
@Suite struct PartsTests {
    @Test func aHashDependsOnEveryByteOnTheLengthAndOnTheSeed() throws {
        var random = Random(seed: 3)
        for count in Array(0...100) + [128, 1000, 1024, 4099] {
            var bytes = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            let hash = bytes.withUnsafeBytes { ByteHash.hash($0, seed: 5) }
            try #require(hash != bytes.withUnsafeBytes { ByteHash.hash($0, seed: 6) }, "length \(count): the seed")
            try #require(hash != (bytes + [0]).withUnsafeBytes { ByteHash.hash($0, seed: 5) }, "length \(count): the length")
            for at in bytes.indices {
                bytes[at] ^= 1 << UInt8(at % 8)
                try #require(hash != bytes.withUnsafeBytes { ByteHash.hash($0, seed: 5) }, "length \(count): byte \(at)")
                bytes[at] ^= 1 << UInt8(at % 8)
            }
            try #require(hash == bytes.withUnsafeBytes { ByteHash.hash($0, seed: 5) })
        }
    }

    /// Counting keys differ in few bits: the worst case for a table.
    @Test func hashesOfCountingKeysSpreadEvenly() {
        var buckets = [Int](repeating: 0, count: 1024)
        for key in 0..<100_000 { buckets[Int(ByteHash.hash(withKey: key) >> 54)] += 1 }
        let expected = 100_000.0 / 1024
        let chiSquare = buckets.reduce(0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
        // 1,023 degrees of freedom: mean 1,023, standard deviation 45
        #expect(chiSquare > 1023 - 5 * 45 && chiSquare < 1023 + 5 * 45, "\(chiSquare)")
    }

    /// Also with hashes of 16 bits in the worst place, so that all keys begin at few slots (semantic 7.1.1).
    @Test(arguments: [UInt64.max, 0xFFFF << 48, 0xFFFF << 32, 0xF << 32]) func aTableFindsWhatIsInItAndNothingElse(_ mask: UInt64) throws {
        var random = Random(seed: 9)
        var table = Table()
        var model: [UInt32: UInt64] = [:]
        for step in 0..<(mask == .max ? 40_000 : 6_000) {
            let index = UInt32(random.next() % 3000)
            if let hash = model[index] {
                table.remove(hash, index)
                model[index] = nil
            } else {
                let hash = random.next() & mask
                table.insert(hash, index)
                model[index] = hash
            }
            let probe = UInt32(random.next() % 3000)
            let found = table.find(model[probe] ?? random.next() & mask) { $0 == probe }
            try #require(found == (model[probe] == nil ? nil : probe), "step \(step)")
        }
        #expect(table.count == model.count)
        for (index, hash) in model {
            let found = table.find(hash) { $0 == index }
            try #require(found == index)
        }
        for (index, hash) in model { table.remove(hash, index) }
        #expect(table.count == 0 && table.slotBytes == 64 * 8 * 8, "an emptied table gives its memory back: \(table.slotBytes)")
    }

    /// Against a sorted list, over spans from one tick to beyond all four wheels, with steps from one tick to weeks.
    @Test(arguments: Run.seeds(1..<6)) func aTimerWheelGivesEverythingInTimeAndNothingBefore(_ seed: UInt64) throws {
        var random = Random(seed: seed)
        let arena = Arena()
        defer { arena.destroy() }
        var clock: Tick = random.next() % (1 << 33)
        var wheel = TimerWheel(at: clock, arena: arena)
        var model: [UInt32: Tick] = [:]
        for step in 0..<8000 {
            switch random.next() % 8 {
            case 0...3:
                guard let index = arena.take() else { break }
                let due = clock &+ random.next() % (1 << (random.next() % 36))
                arena[index].pointee.expiresAt = due
                wheel.add(index)
                model[index] = due
            case 4:
                guard let index = model.keys.min() else { break }
                wheel.remove(index)
                arena.give(index)
                model[index] = nil
            default:
                if random.next() % 2 == 0 { _ = wheel.prepare(Int(random.next() % 64)) }
                let nextDue = wheel.nextDue
                let earliest = model.values.min()
                #expect(nextDue ?? .max <= max(earliest ?? .max, clock), "seed \(seed) step \(step): wakes late")
                clock += random.next() % (1 << (random.next() % 34))
                var last: Tick = 0
                while let index = wheel.next(upTo: clock) {
                    let scheduled = model.removeValue(forKey: index)
                    let due = try #require(scheduled, "seed \(seed) step \(step): nobody scheduled \(index)")
                    try #require(due <= clock && due >= last, "seed \(seed) step \(step): due \(due), clock \(clock), before it \(last)")
                    last = due
                    arena.give(index)
                }
                try #require(model.values.allSatisfy { $0 > clock }, "seed \(seed) step \(step): something is late")
            }
            if step % 16 == 0 { wheel.checkInvariants() }
        }
    }

    @Test func cellsAreLargeEnoughAndLittleIsWasted() {
        let sizes = Slabs.sizes
        #expect(sizes == sizes.sorted() && sizes.count < 256 && sizes.allSatisfy { $0 % 16 == 0 } && Slabs.cellBytesMax > 32_000)
        let wrong = stride(from: 28, to: 200_000, by: 7).first { bytes in
            let waste = bytes > Slabs.cellBytesMax ? 4095 : bytes > 7000 ? bytes / 3 : max(20, bytes / 15)
            return !(bytes...bytes + waste).contains(Slabs.allocated(bytes))
        }
        #expect(wrong == nil, "\(wrong ?? 0) bytes take \(Slabs.allocated(wrong ?? 0))")
    }

    @Test func ghostsRememberTwiceAsManyKeysAsThereAreResidentsAndForgetTheRest() {
        var ghosts = Ghosts()
        for key in 0..<1000 { ghosts.remember(ByteHash.hash(withKey: key), frequency: UInt8(1 + key % 15), residents: 1000) }
        let right = (0..<1000).filter { ghosts.frequency(of: ByteHash.hash(withKey: $0)) == UInt8(1 + $0 % 15) }.count
        let strangers = (10_000..<20_000).filter { ghosts.frequency(of: ByteHash.hash(withKey: $0)) > 0 }.count
        #expect(right > 970 && strangers < 20, "\(right) of 1000 right, \(strangers) of 10000 strangers known")
        for key in 1000..<100_000 { ghosts.remember(ByteHash.hash(withKey: key), frequency: 1, residents: 1000) }
        #expect(ghosts.count <= 2000 && ghosts.bytes < 16 * 1024, "\(ghosts.count) remembered in \(ghosts.bytes) bytes")
        #expect(ghosts.frequency(of: ByteHash.hash(withKey: 0)) == 0, "frequency 1 is forgotten when it is halved")
    }

    @Test func theClassOfAnEntryIsTheRoundedLogarithmOfItsWorth() {
        for (frequency, weight, size, exponent) in [
            (1, 1, 1, 0), (1, 1, 1024, -10), (2, 1, 1024, -9), (15, 60_000, 64, 14), (1, 20, 4096, -8), (3, 1, 2, 1), (1, 1.4, 1, 0),
            (1, 1.42, 1, 1), (1, 0, 10, -24), (1, .nan, 10, -24), (1, .infinity, 10, -24), (1, -5, 10, -24),
        ] as [(UInt8, Float, Int, Int)] {
            #expect(Eviction.exponent(frequency: frequency, weight: weight, size: size) == exponent, "\(frequency) · \(weight) / \(size)")
        }
    }

    @Test func aFullQueueToTheSecondLevelLosesItsOldest() {
        var queue = SpillQueue()
        var lost = 0
        for n in 0..<UInt32(Limits.cacheSpillQueueMax + 3000) where queue.append(EntryID(index: n, generation: 0)) != nil { lost += 1 }
        #expect(lost == 3000 && queue.count == Limits.cacheSpillQueueMax && queue.next() == EntryID(index: 3000, generation: 0))
        while queue.next() != nil {}
        #expect(queue.count == 0)
    }
}
