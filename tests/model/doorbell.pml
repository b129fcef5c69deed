/*
 * The doorbell: how a reader goes to sleep on a wake word and how the writer knows that it must ring.
 *
 * What is modelled
 *   - one writer process with two threads: an appender, and a housekeeper that replaces the control file RECREATES times
 *     or, with SECOND_APPENDS, another appender, whose region shares the flag, or, with FLUSHER, a flusher that moves the
 *     persisted offset up to the commit offset and rings for who waits for that. Optionally a kill of the whole writer
 *     followed by a new one (WRITER_RESTART);
 *   - two reader processes, each of which may be killed at any step. Its flag stays as it is. With FLUSHER the second is on
 *     the persisted horizon: it has that offset, flag and wake word, and the first has the others;
 *   - x86-TSO: every plain store of every thread goes through a store buffer of its own and lands, in order, at any later
 *     time. So a load may overtake an earlier store of its own thread, and nothing else is reordered. No thread loads a
 *     word while its own store to that word is still buffered: forwarding plays no part;
 *   - membarrier(GLOBAL_EXPEDITED): a full fence for the caller, and for each writer thread one moment during the call at
 *     which its buffer is emptied. These moments come in any order, and other threads run in between;
 *   - futex: FUTEX_WAIT compares and falls asleep in one step, FUTEX_WAKE wakes everybody asleep at that moment. Both
 *     empty the caller's buffer. Waits have no time limit and never end spuriously, so that nothing hides a lost wake-up:
 *     a reader asleep behind the commit offset that nobody is left to wake.
 *
 * What is checked
 *   - lost_wake_up: asserted whenever a reader falls asleep and when the writer has made its last step;
 *   - unpaid_ring: a ring uses up one raise (0 to 1) of the flag, so a killed sleeper costs at most one ring;
 *   - unmapped_access: no appender touches the flag of a control file that is no longer mapped;
 *   - with NO_KILLS also that every process ends, and that no execution is infinite (pan -l). Together: each living reader
 *     reaches the last commit, whatever the scheduler does.
 *
 * Labels, as in the code
 *   [D1] reader: flag = 1
 *   [D2] reader: membarrier
 *   [D3] reader: looks at the commit offset again
 *   [D4] writer: commit store; then load of the pointer to the flags; then load of the flag
 *   [D5] writer: clears the flag before it bumps the wake word
 *   [D6] writer: bumps the wake word, by one atomic read-modify-write, before FUTEX_WAKE
 *   [D7] writer, new control file: pointer, then nonce, then an unconditional ring
 *
 * Variants, which must be correct: FLUSHER, WRITER_FENCES, WRITER_RESTART, NO_KILLS, and the numbers below.
 * Mutants, which must fail: the list in run_spin.sh. Each macro is explained where it is used.
 */

#ifndef APPENDS
#define APPENDS 3
#endif
#ifndef SECOND_APPENDS
#define SECOND_APPENDS 0
#endif
#if SECOND_APPENDS > 0 || defined(FLUSHER)
#if defined(RECREATES) || defined(WRITER_RESTART) || SECOND_APPENDS > 0 && defined(FLUSHER)
#error with SECOND_APPENDS there is no housekeeper, flusher and next writer, and so with FLUSHER
#endif
#define RECREATES 0
#endif
#ifndef RECREATES
#define RECREATES 1
#endif

#define READERS 2
#if defined(WRITER_RESTART) || defined(FLUSHER)
#define FILES (RECREATES + 2) /* FLUSHER: one file, and the flag of the persisted horizon behind it */
#else
#define FILES (RECREATES + 1)
#endif

/* Writer threads, each with a store buffer. */
#define THREADS 2
#define APPENDER 0
#define HOUSEKEEPER 1
#define SECOND 1
#if SECOND_APPENDS > 0 || defined(SHARED_FLAG)
#define APPENDERS 2
#else
#define APPENDERS 1
#endif
#define region_of(t) (t)

/* With FLUSHER, thread t rings for reader t, and nobody else is its business. Mutant SHARED_FLAG: one flag for both
 * horizons, which a ring on one of them takes from the sleepers on the other. Mutant RING_OTHER_HORIZON: the flusher's ring
 * moves the wake word of the committed horizon. */
#ifdef FLUSHER
#define watched(r) (r)
#define flag_of(t, f) (t)
#define something_new(t) (t == APPENDER || commit[APPENDER] > count)
#define next_count(t) (t == APPENDER -> count + 1 : commit[APPENDER])
#define rung(t) (t)
#else
#define watched(r) 0
#define flag_of(t, f) (f)
#define something_new(t) true
#define next_count(t) (count + 1)
#endif
#ifdef SHARED_FLAG
#undef flag_of
#define flag_of(t, f) 0
#endif
#ifdef RING_OTHER_HORIZON
#undef rung
#define rung(t) 0
#endif

/* SIGKILL: an alternative to a step. A thread of the writer that stops for good stands for one that has not been scheduled
 * again before its process was killed. */
#ifdef NO_KILLS
#define or_killed
#else
#define or_killed :: goto gone
#endif
#ifdef WRITER_RESTART
#define or_writer_killed :: writers > 1 -> goto gone
#else
#define or_writer_killed
#endif

mtype = { COMMIT, CLEAR, WAKE, NONCE, POINTER };

/* The stream file's header, which readers cannot write. The nonce of a control file is its index here. */
byte commit[2];        /* commit offset of each appender's region */
byte nonce;
#ifdef SPLIT_BUMP
byte wake_word;        /* otherwise see `old` */
#endif

/* The control files. A new one starts with its flag down. */
bit flag[FILES];

/* Memory of the writer process: whose flag do appenders look at? */
byte pointer;

/* Store buffers. A writer thread's has room for all its commits, a clear and a bump; that it never overflows is asserted.
 * A reader's holds one raise (1 + file) or nothing (0). */
chan buffer[THREADS] = [APPENDS + SECOND_APPENDS + 2] of { mtype, byte };
byte raising[READERS];

/* Readers. A position is only compared with the commit offset, and the wake word a reader has read only with the present
 * one. So one bit for each keeps the states few without losing any behaviour. */
byte behind[READERS];  /* bit per region: a commit has landed there since this reader looked last */
bit old[READERS] = 1;  /* the wake word has changed since this reader read it */
bit asleep[READERS];

/* For the checks only. */
#ifdef WRITER_RESTART
byte writers = THREADS + 1;
#else
byte writers = THREADS;
#endif
byte paid[FILES];      /* rings that the last raise of this flag pays for: one per appender */
bit unmapped[FILES];

#define lost_wake_up (writers == 0 && (asleep[0] && behind[0] || asleep[1] && behind[1]))
#define unpaid_ring(f) (paid[f] == 0)
#define unmapped_access(f) (unmapped[f])

hidden mtype what;
hidden byte value;

/* ---- memory ----------------------------------------------------------------------------------------------------- */

/* The oldest store of writer thread t reaches memory. */
inline land(t)
{
    buffer[t]?what, value;
    if
    :: what == COMMIT  ->
        commit[region_of(t)] = value;
#ifdef FLUSHER
        behind[t] = behind[t] | (1 << t)
#else
        behind[0] = behind[0] | (1 << region_of(t));
        behind[1] = behind[1] | (1 << region_of(t))
#endif
    :: what == CLEAR   -> flag[value] = 0
#ifdef SPLIT_BUMP
    :: what == WAKE    ->
        old[0] = old[0] | (value != wake_word);
        old[1] = old[1] | (value != wake_word);
        wake_word = value
#endif
    :: what == NONCE   -> nonce = value
    :: what == POINTER -> pointer = value
    fi
}

inline drain(t)
{
    skip;
    do
    :: len(buffer[t]) > 0 -> land(t)
    :: else -> break
    od;
    skip
}

inline store(t, word, v)
{
    assert(nfull(buffer[t]));
    buffer[t]!word, v
}

/* The raise of reader r reaches memory. Only a change from 0 to 1 entitles the writer to another ring. */
inline land_raise(r)
{
    if
    :: raising[r] > 0 ->
        if
        :: flag[raising[r] - 1] == 0 -> flag[raising[r] - 1] = 1; paid[raising[r] - 1] = APPENDERS
        :: else
        fi;
        raising[r] = 0
    :: else
    fi
}

active proctype memory()
{
end:
    do
    :: d_step { len(buffer[0]) > 0 -> land(0) }
    :: d_step { len(buffer[1]) > 0 -> land(1) }
    :: d_step { raising[0] > 0 -> land_raise(0) }
    :: d_step { raising[1] > 0 -> land_raise(1) }
    od
}

/* ---- reader ----------------------------------------------------------------------------------------------------- */

/* The reader's own fence coincides with the first drain: its raise may as well land earlier by itself. */
inline membarrier(r)
{
    if
#if defined(WRITER_FENCES) || defined(FENCE_ONLY)
    :: d_step { true -> land_raise(r) }
#else
    :: d_step { true -> land_raise(r); drain(0) }; d_step { drain(1) }
    :: d_step { true -> land_raise(r); drain(1) }; d_step { drain(0) }
#endif
    or_killed
    fi
}

#ifdef FLUSHER
#define all_there(region) (commit[region] == APPENDS)
#else
#define all_there(region) (commit[0] + commit[1] == APPENDS + SECOND_APPENDS)
#endif
#define progressed(r, region) (behind[r] & (1 << region))
#define at_the_end(r, region) (all_there(region) && behind[r] == (1 << region))

/* Loads the commit offset of a region. If it has progressed, moves the position there; then starts over, or is done when
 * nothing more will come. */
inline look(r, region)
{
    if
    :: d_step { progressed(r, region) && at_the_end(r, region) -> behind[r] = 0 } goto gone
    :: d_step { progressed(r, region) && !at_the_end(r, region) -> behind[r] = behind[r] & ~(1 << region); old[r] = 1 }
        goto again
    :: !progressed(r, region)
    or_killed
    fi
}

/* Re-reads the nonce in the stream's header; if it is another one, attaches to its control file and starts over. */
inline check_nonce(r)
{
    if
    :: d_step { nonce != attached -> attached = nonce; old[r] = 1 } goto again
    :: nonce == attached
    or_killed
    fi
}

proctype reader(byte r)
{
    byte attached = 0;

    /* Opens the stream, at any time: it may be that it has never seen, nor raised a flag in, an earlier control file. */
    if :: attached = nonce or_killed fi;

again:
    /* What a cursor does first; it waits only when nothing is there. */
    look(r, watched(r));
#if SECOND_APPENDS > 0
    look(r, 1);
#endif

#ifdef EARLY_NONCE_CHECK
    check_nonce(r);
#endif

#ifndef LATE_WORD
    if :: old[r] = 0 or_killed fi;                                     /* r1 */
#endif

#ifndef NO_FLAG
    /* r2 [D1] Mutant NO_FLAG: the writer never learns of the sleeper. */
    if :: d_step { raising[r] == 0 -> raising[r] = 1 + flag_of(r, attached) } or_killed fi;
#endif

#ifndef NO_MEMBARRIER
    /* r3 [D2] Mutant NO_MEMBARRIER: no barrier at all. Mutant FENCE_ONLY: a fence here and none in the writer. */
    membarrier(r);
#endif

#if !defined(NO_NONCE_CHECK) && !defined(EARLY_NONCE_CHECK)
    /* r4 After r1: [D7] changes the nonce before it rings, so whoever read the wake word after that ring sees the new nonce
     *    here. Mutants NO_NONCE_CHECK and EARLY_NONCE_CHECK (before r1): raises a flag that nobody looks at any more. */
    check_nonce(r);
#endif

#ifndef NO_RECHECK
    /* r5 [D3] Mutant NO_RECHECK: misses what was committed between the first look and the flag. */
    look(r, watched(r));
#if SECOND_APPENDS > 0
    look(r, 1);
#endif
#endif

#ifdef LATE_WORD
    /* Mutant LATE_WORD: reads the wake word last, so a ring since the flag goes unnoticed. */
    if :: old[r] = 0 or_killed fi;
#endif

    /* r6 */
    if
    :: d_step {
        true -> land_raise(r);
        asleep[r] = !old[r];
        old[r] = 1;
        assert(!lost_wake_up)
       }
    or_killed
    fi;
    if :: !asleep[r] or_killed fi;
    goto again;

gone:
    atomic { asleep[r] = 0; old[r] = 1; behind[r] = 3; attached = 0 }
}

/* ---- writer ----------------------------------------------------------------------------------------------------- */

inline clear(t, f)
{
    if
    :: d_step {
        true -> assert(!unpaid_ring(f));
        paid[f] = paid[f] - 1;
        assert(!unmapped_access(f));
#ifndef NEVER_CLEAR
        store(t, CLEAR, f)
#endif
       }
    or_writer_killed
    fi
}

/* Mutant SPLIT_BUMP: a load and a store. Two threads that ring at once then change the wake word once. */
inline bump(t)
{
#ifdef SPLIT_BUMP
    bumped = wake_word + 1;
    d_step { store(t, WAKE, bumped); bumped = 0 }
#else
    if
#ifdef FLUSHER
    :: d_step { true -> drain(t); old[rung(t)] = 1 }
#else
    :: d_step { true -> drain(t); old[0] = 1; old[1] = 1 }
#endif
    or_writer_killed
    fi
#endif
}

inline futex_wake(t)
{
    if
#ifdef FLUSHER
    :: d_step { true -> drain(t); asleep[rung(t)] = 0 }
#else
    :: d_step { true -> drain(t); asleep[0] = 0; asleep[1] = 0 }
#endif
    or_writer_killed
    fi
}

/* w3 [D5] [D6] Mutant CLEAR_AFTER_BUMP: who reads the new wake word and raises the flag before the clear sleeps with the
 *              flag down. Mutant WAKE_BEFORE_BUMP: who falls asleep on the old wake word in between is not woken. Mutant
 *              NEVER_CLEAR: one killed sleeper makes every append ring. */
inline ring(t, f)
{
#if defined(CLEAR_AFTER_BUMP)
    bump(t);
    clear(t, f);
    futex_wake(t)
#elif defined(WAKE_BEFORE_BUMP)
    clear(t, f);
    futex_wake(t);
    bump(t)
#else
    clear(t, f);
    bump(t);
    futex_wake(t)
#endif
}

/* w1, w2 [D4] Mutants POINTER_BEFORE_COMMIT and FLAG_BEFORE_COMMIT load too early what belongs after the store, as a
 *             compiler may when there is no barrier. Mutant PERSISTED_FLAG_FIRST: the flusher alone. Mutant DROP_RING: leaves a
 *             ring out (to limit their rate, say) and nobody makes up for it. */
inline append(t)
{
#if defined(POINTER_BEFORE_COMMIT) || defined(FLAG_BEFORE_COMMIT)
    used = pointer;
#endif
#ifdef FLAG_BEFORE_COMMIT
    up = flag[flag_of(t, used)];
#endif
#ifdef PERSISTED_FLAG_FIRST
    if :: t == SECOND -> up = flag[flag_of(t, used)] :: else fi;
#endif
    if :: d_step { true -> count = next_count(t); store(t, COMMIT, count) } or_writer_killed fi;
#ifdef WRITER_FENCES
    d_step { drain(t) };
#endif
#if !defined(POINTER_BEFORE_COMMIT) && !defined(FLAG_BEFORE_COMMIT)
    if :: used = pointer or_writer_killed fi;
#endif
#ifndef FLAG_BEFORE_COMMIT
    if
#ifdef PERSISTED_FLAG_FIRST
    :: t == SECOND
    :: d_step { t != SECOND -> assert(!unmapped_access(used)); up = flag[flag_of(t, used)] }
#else
    :: d_step { true -> assert(!unmapped_access(used)); up = flag[flag_of(t, used)] }
#endif
    or_writer_killed
    fi;
#endif
    if
    :: up -> ring(t, flag_of(t, used))
#ifdef DROP_RING
    :: up
#endif
    :: else
    fi;
    d_step { used = 0; up = 0 }
}

proctype appender(byte t; byte last)
{
    byte count = 0;
    byte used = 0;
    bit up = 0;
#ifdef SPLIT_BUMP
    byte bumped = 0;
#endif

    do
    :: count < last && something_new(t) -> append(t)
    :: count == last -> break
    od;
gone:
    atomic { len(buffer[t]) == 0 -> count = 0; used = 0; up = 0; writers--; assert(!lost_wake_up) }
}

/* [D7] The new file exists, is mapped and has its flag down before any of this. The pointer goes first: a reader may raise
 *      the new flag as soon as it sees the nonce, and every append whose commit that reader's re-check misses must look
 *      there. Pairs with [D4] and r4.
 *      Mutant POINTER_LAST: between nonce and pointer, appends look at the old flag only.
 *      Mutant RING_BEFORE_NONCE: a reader sleeps on the new wake word behind the old flag.
 *      Mutant NO_RING_ON_RECREATE: who sleeps behind the old flag is forgotten.
 *      Mutant EARLY_UNMAP: an appender that is not being scheduled may hold the old pointer for any length of time. */
inline recreate(t, f)
{
#ifndef POINTER_LAST
    if :: d_step { true -> store(t, POINTER, f) } or_writer_killed fi;
#endif
#ifndef RING_BEFORE_NONCE
    if :: d_step { true -> store(t, NONCE, f) } or_writer_killed fi;
#endif
#ifndef NO_RING_ON_RECREATE
    bump(t);
    futex_wake(t);
#endif
#ifdef RING_BEFORE_NONCE
    d_step { store(t, NONCE, f) };
#endif
#ifdef POINTER_LAST
    d_step { store(t, POINTER, f) };
#endif
#ifdef EARLY_UNMAP
    d_step { drain(t); unmapped[f - 1] = 1 }
#endif
}

proctype housekeeper()
{
    byte made = 0;
#ifdef SPLIT_BUMP
    byte bumped = 0;
#endif

    do
    :: made < RECREATES -> made++; recreate(HOUSEKEEPER, made)
    :: made == RECREATES -> break
    od;
gone:
    atomic { len(buffer[HOUSEKEEPER]) == 0 -> made = 0; writers--; assert(!lost_wake_up) }
}

#ifdef WRITER_RESTART
/* The writer process has been killed, perhaps between a commit and its ring, and another opens the stream. It keeps the
 * control file or makes a new one, and rings in both cases.
 * Mutant NO_RING_ON_OPEN: what the dead one committed without ringing is not announced. */
proctype next_writer()
{
    byte count = 0;
    byte used = 0;
    bit up = 0;

    writers == 1;
    d_step { count = commit[0]; used = nonce };
    if
    :: used++
    :: true
    fi;
    d_step { store(APPENDER, POINTER, used) };
    d_step { store(APPENDER, NONCE, used) };
#ifdef NO_RING_ON_OPEN
    d_step { drain(APPENDER) };
#else
    bump(APPENDER);
    futex_wake(APPENDER);
#endif
    do
    :: count < APPENDS -> append(APPENDER)
    :: else -> break
    od;
gone:
    atomic { len(buffer[APPENDER]) == 0 -> count = 0; used = 0; up = 0; writers--; assert(!lost_wake_up) }
}
#endif

init
{
    atomic {
        run reader(0);
        run reader(1);
        run appender(APPENDER, APPENDS);
#ifdef WRITER_RESTART
        run next_writer();
#endif
#ifdef FLUSHER
        run appender(SECOND, APPENDS)
#elif SECOND_APPENDS > 0
        run appender(SECOND, SECOND_APPENDS)
#else
        run housekeeper()
#endif
    }
}
