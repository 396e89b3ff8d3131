import Base
import Foundation
import Pool
import Testing

@Suite struct PoolSimulation {
    /// All seeds, or the one that `HEARTH_SEED` names.
    private static var seeds: [UInt64] {
        ProcessInfo.processInfo.environment["HEARTH_SEED"].flatMap { UInt64($0) }.map { [$0] } ?? Array(1...100)
    }

    /// Thousands of facts a seed, every rule of `PoolModel` after each.
    @Test func everyCallIsAnsweredExactlyOnceWhateverHappens() {
        var (facts, calls) = (0, 0)
        for seed in Self.seeds {
            // An assertion inside the pool ends the process: the last line tells where to look for the seed.
            if seed % 10 == 1 { FileHandle.standardError.write(Data("pool simulation: seed \(seed) and on\n".utf8)) }
            do {
                let run = try Simulation.run(seed: seed, facts: 2000)
                facts += run.facts
                calls += run.calls
            } catch {
                Issue.record("\(error)")
            }
        }
        #expect(calls > 0)
        print("pool simulation: seeds \(Self.seeds.first ?? 0)…\(Self.seeds.last ?? 0), \(facts) facts, \(calls) calls")
    }

    /// Replaying a seed would mean nothing otherwise.
    @Test func aSeedGivesTheSameRun() throws {
        let first = try Simulation.run(seed: 7, facts: 500)
        #expect(try Simulation.run(seed: 7, facts: 500) == first)
    }
}
