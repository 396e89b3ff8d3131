internal import Base
package import Catalog

/// Makes a version ready to take an alias's traffic, before it does (make before break).
///
/// While it lives it claims provisioned workers for the version; the catalogue's own numbers take over when the alias
/// has moved, and then `release` ends the claim. A version that is to have none is tried with one worker all the same:
/// a handler that cannot be imported must not take traffic.
package final class Promotion {
    package enum Result: Sendable {
        case ready(workers: Int)
        /// Lambda's error object of the init, or a sentence.
        case initFailed([UInt8])
        case cannotStart(String)
    }

    private let pool: VersionPool

    /// nil when no pool can be made.
    package init?(_ version: VersionEntry, of function: FunctionEntry, in invoker: Invoker) {
        guard let pool = invoker.pool(for: version, of: function) else { return nil }
        self.pool = pool
    }

    /// Starts `provisioned` workers (at least one) and calls back once, when they are initialised or one has failed.
    package func prepare(provisioned: Int, _ done: @escaping (Result) -> Void) {
        pool.forgetFailures()
        pool.claim(self, provisioned: max(1, provisioned))
        pool.whenSettled { [pool] in
            if let sentence = pool.cannotStart { return done(.cannotStart(sentence)) }
            if let error = pool.initError { return done(.initFailed(error)) }
            done(.ready(workers: pool.gauges.provisionedReady))
        }
    }

    package func release() { pool.release(self) }
}
