internal import Base
internal import Dispatch
internal import Glibc
internal import Synchronization
internal import UV

/// What a start gave: a process that nobody watches yet.
struct Spawned: Sendable {
    let pid: pid_t
    let pidfd: CInt
    /// Our end of hearth-init's socket, or -1.
    let status: CInt
    let keeper: ProcessHandle.Keeper
    var group: Cgroups.Group?
    /// When it executed its program.
    let at: Moment
}

/// The one thread of the server that makes processes, so that the loop waits for none of them: its thread would sleep until
/// the process has executed its program.
///
///     loop ──start──▶ orders ──▶ this thread: clone, exec ──▶ loop: arrived
///
/// Invariants:
///  1. Every order is answered once, on its loop, and those of one loop in their order.
///  2. An order's descriptors are this object's: they are closed before the order is answered.
///  3. The thread lives as long as the server: the kernel ends a process with the thread that made it
///     (PR_SET_PDEATHSIG, prctl(2)).
///
/// Thread rule: any thread.
final class Spawner: Sendable {
    static let shared = Spawner()

    /// A program to be started as its recipe says. Descriptor `i` of the process is `descriptors[i]` (-1: /dev/null).
    struct Order: Sendable {
        let recipe: WorkerRecipe
        let environment: [String]
        let descriptors: [CInt]
        var isZygote = false
    }

    typealias Answer = @Sendable (Result<Spawned, SpawnFailure>) -> Void
    private let orders = Mutex<[(order: Order, answer: Answer)]>([])
    private let count = DispatchSemaphore(value: 0)

    /// SCHED_BATCH, which no header gives to Swift.
    private static let batch: CInt = 3

    private init() {
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Spawner>.fromOpaque(argument).takeUnretainedValue().run() }
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
        precondition(status == 0, "the thread that starts processes cannot be made")
    }

    /// Starts a process soon and tells `arrived`, on the loop, what came of it.
    func start(_ order: Order, on loop: Loop, _ arrived: @escaping (Result<Spawned, SpawnFailure>) -> Void) {
        let arrived = LoopBound(arrived, on: loop)
        let remote = loop.remote
        orders.withLock { $0.append((order, { result in remote.post { arrived.wrapped(result) } })) }
        count.signal()
    }

    private func run() -> Never {
        // Woken by an order on the loop's processor, this thread would take that from it; a batch thread does not (sched(7)).
        // What it starts becomes ordinary again (`hearth_become_child`).
        var parameter = sched_param()
        sched_setscheduler(0, Self.batch, &parameter)
        var bases: [[String]: BaseInterpreter] = [:]
        while true {
            count.wait()
            let (order, answer) = orders.withLock { $0.removeFirst() }
            let result: Result<Spawned, SpawnFailure>
            let base = order.recipe.baseCommand.map { command in
                let base = bases[command] ?? BaseInterpreter(command)
                bases[command] = base
                return base
            }
            do throws(SpawnFailure) { result = .success(try order.recipe.spawn(order, from: base)) } catch { result = .failure(error) }
            // One may be there more than once.
            for descriptor in Set(order.descriptors) where descriptor >= 0 { Glibc.close(descriptor) }
            answer(result)
        }
    }
}
