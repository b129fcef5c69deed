/*
 * Turns: how the threads of a writer take turns at flushing, and sleep while another does. The code is
 * src/durability/turns.cpp, and flusher::wait() and persist_region() as far as they use it.
 *
 * What is modelled
 *   - WAITERS threads, each of which appends and waits until that is served, ROUNDS times. One that has the turn serves
 *     what was committed when it looked. With OVERTAKES, one more thread that takes turns, as persist_region() and
 *     tend() do (begin() and try_begin()), says nothing of whom it serves, and serves everybody or nobody;
 *   - when somebody gathers, and whether it is the last to come, is left open: `expected_` and `skip_` are not here,
 *     and each answer is tried. They decide how full a turn is, and nobody's sleep may hang on them;
 *   - x86-TSO: the plain stores of a turn (will_serve, served, the word at its end) go through the store buffer of its
 *     thread, which sees them itself at once. The next turn cannot be taken before they have landed, so at most one
 *     thread's buffer is in use. Read-modify-writes and futex calls empty the caller's. The store of `everybody` before
 *     a read-modify-write needs no buffer: its thread loads nothing in between;
 *   - either a fence at the end of a turn, or, with MEMBARRIER, none, and a sleeper's membarrier: for each other thread
 *     one moment during the call at which its buffer is emptied, in any order;
 *   - futex: FUTEX_WAIT_BITSET compares and falls asleep in one step; FUTEX_WAKE_BITSET wakes all that sleep with that
 *     bit, or any one of them. Only who gathers has a limit, which may end at any time: nothing hides a lost wake-up.
 *
 * What is checked
 *   - every thread ends, so nobody sleeps for ever: an invalid end state is a sleeper that nobody is left to wake;
 *   - no execution is infinite (pan -l);
 *   - two_turns: at most one has the turn;
 *   - oversleeps: when a turn has ended, and nobody has or ends another, nobody is asleep who has been served.
 *
 * Labels, as in the code
 *   [D10] sleeper: counts itself; then the last look at the word, which the kernel takes
 *   [D11] end of a turn: moves the word; then looks at who sleeps
 *
 * Variants, which must be correct: MEMBARRIER; OVERTAKES; IMPATIENT, where one waiter has a limit and leaves when it is
 * over; FAILURE, where a flush may fail, and then everybody leaves; SPURIOUS, where that many waits end by themselves.
 * Mutants, which must fail: the list in run_spin.sh. Each macro is explained where it is used.
 */

#ifndef WAITERS
#define WAITERS 3
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef OVERTAKES
#define OVERTAKES 0
#endif
#ifndef SPURIOUS
#define SPURIOUS 0
#endif

#if OVERTAKES > 0
#define THREADS (WAITERS + 1)
#else
#define THREADS WAITERS
#endif

#define OVERTAKER WAITERS

/* The word: see turns.cpp. */
#define OPEN 0
#define GATHERING 1
#define TAKEN 2
#define standing_of(w) ((w) % 4)
#define turn_of(w) ((w) / 4)
#define word_of(turn, how) ((turn) * 4 + (how))
#define group_of(turn) ((turn) % 2)

#define EVERYBODY 255

byte word;
byte sleepers[2];
byte committed;
byte served;
byte will_serve;
#ifdef IMPATIENT
byte limits = 1;
#else
#define over 0
#endif
#ifdef FAILURE
bit failed;
#else
#define failed 0
#endif

/* The store buffer that is in use: whose (1 + thread; 0: none), and which stores are in it, oldest first. */
byte owner;
bit late_will;
bit late_served;
bit late_word;
byte late_value;  /* of will_serve and served, until the turn has ended */

/* What thread t loads. */
#define word_seen(t) (owner == 1 + t && late_word -> word_of(turn_of(word) + 1, OPEN) : word)
#define served_seen(t) (owner == 1 + t && late_served -> late_value : served)

/* The kernel's queue: 1 + the bit with which a thread sleeps; 0: it does not. */
byte asleep[THREADS];

byte upto[THREADS];  /* what a thread waits for */

/* For the checks only. */
byte holders;  /* have the turn */
byte enders;   /* have moved the word and not done all their waking */
#if SPURIOUS > 0
byte spurious = SPURIOUS;
#endif

#define two_turns (holders > 1)
/* MAY_OVERSLEEP: for mutants that let somebody sleep for ever. Most of them let somebody oversleep first. */
#ifdef MAY_OVERSLEEP
#define oversleeps false
#else
#define oversleeping(t) (asleep[t] && upto[t] <= served)
#if WAITERS == 2
#define oversleeps (oversleeping(0) || oversleeping(1))
#else
#define oversleeps (oversleeping(0) || oversleeping(1) || oversleeping(2))
#endif
#endif

/* ---- memory ----------------------------------------------------------------------------------------------------- */

/* The oldest store that is in the buffer reaches memory. */
inline land()
{
    if
    :: late_will -> will_serve = late_value; late_will = 0
    :: !late_will && late_served -> served = late_value; late_served = 0
    :: !late_will && !late_served -> word = word_of(turn_of(word) + 1, OPEN); late_word = 0; late_value = 0
    fi;
    if
    :: !late_will && !late_served && !late_word -> owner = 0
    :: else
    fi
}

inline drain(t)
{
    do
    :: owner == 1 + t -> land()
    :: else -> break
    od
}

active proctype memory()
{
end:
    do
    :: d_step { owner > 0 -> land() }
#if SPURIOUS > 0
    :: d_step { spurious > 0 && asleep[0] -> asleep[0] = 0; spurious-- }
    :: d_step { spurious > 0 && asleep[1] -> asleep[1] = 0; spurious-- }
#if THREADS > 2
    :: d_step { spurious > 0 && asleep[2] -> asleep[2] = 0; spurious-- }
#endif
#endif
    od
}

/* `how` takes the place of `seen`, if that still stands. Mutant TAKEN_UNSEEN: even if it does not. */
#ifdef TAKEN_UNSEEN
#define stands(t) true
#else
#define stands(t) (word == seen)
#endif
inline replace(t, how)
{
    d_step {
        drain(t);
        if
        :: stands(t) ->
            seen = word_of(turn_of(seen), how);
            word = seen;
            holders = holders + (how == TAKEN);
            assert(!two_turns);
            done = 1
        :: else -> done = 0
        fi
    }
}

/* Mutant STALE_WILL_SERVE: until a turn says whom it serves, what the last one said counts. */
inline take(t)
{
#ifndef STALE_WILL_SERVE
    d_step { drain(t); will_serve = EVERYBODY };
#endif
    replace(t, TAKEN)
}

/* ---- sleep ------------------------------------------------------------------------------------------------------ */

#ifdef MEMBARRIER
#define everyone ((1 << THREADS) - 1)
#define its_moment_at(t, other) \
    :: d_step { t != other && !(moments & (1 << other)) -> drain(other); moments = moments | (1 << other) }
inline barrier(t)
{
    moments = 1 << t;
    do
    its_moment_at(t, 0)
    its_moment_at(t, 1)
#if THREADS > 2
    its_moment_at(t, 2)
#endif
#if THREADS > 3
    its_moment_at(t, 3)
#endif
    :: moments == everyone -> break
    od;
    moments = 0
}
#endif

/* A thread sleeps while the turn is taken, while another gathers, or while it gathers itself. */
mtype = { FOR_A_TURN, BESIDE, GATHERER };

/* [D10] Mutant NOT_COUNTED: whoever ends the turn does not learn of the sleeper. Mutant COUNTED_LATE: too late.
 *       Mutant NO_LAST_LOOK: falls asleep although the turn has ended.
 *       Mutant NO_MEMBARRIER, with MEMBARRIER: the sleeper has a full barrier all the same, for it counts itself by a
 *       read-modify-write; the end of a turn has none.
 * Mutant OTHER_BIT: is counted in one group, and sleeps with the bit of the other.
 * Mutant GATHERS_FOR_EVER: others fall asleep meanwhile, and rely on its limit. */
#ifdef NO_LAST_LOOK
#define still(t) true
#else
#define still(t) (word == seen)
#endif
#ifdef OTHER_BIT
#define bit_of(group) (1 - (group))
#else
#define bit_of(group) (group)
#endif
#ifdef GATHERS_FOR_EVER
#define limited false
#else
#define limited (role == GATHERER)
#endif

#define last_look(t) d_step { \
        if \
        :: still(t) -> asleep[t] = 1 + bit_of(group); woken = 1 \
        :: else -> woken = 0 \
        fi \
    }

#ifdef NOT_COUNTED
#define uncount() skip
#else
#define uncount() sleepers[group]--
#endif

/* Leaves in `woken` and `here` how it slept. */
inline sleep(t)
{
#if !defined(NOT_COUNTED) && !defined(COUNTED_LATE)
    d_step { drain(t); sleepers[group]++ };
#endif
#if defined(MEMBARRIER) && !defined(NO_MEMBARRIER)
    barrier(t);
#endif
    if
    :: d_step { role != FOR_A_TURN -> here = 1; uncount() }
    :: d_step { served_seen(t) >= upto[t] -> uncount() }
    :: served_seen(t) < upto[t] ->
        last_look(t);
#ifdef COUNTED_LATE
        d_step { drain(t); sleepers[group]++ };
#endif
        if
        :: d_step { !asleep[t] -> uncount() }
        :: d_step { asleep[t] && limited -> asleep[t] = 0; woken = 0; uncount() }
#ifdef IMPATIENT
        :: d_step { asleep[t] && limits > 0 && t != OVERTAKER ->
                asleep[t] = 0; woken = 0; over = 1; limits--; uncount() }
#endif
        fi
    fi
}

/* ---- the end of a turn ------------------------------------------------------------------------------------------ */

#define first_of(g, other) asleep[other] == 1 + (g) -> asleep[other] = 0

/* The look at the counter and the call in one step. Whoever sleeps is counted, so a call that follows later, when the
 * counter has changed, is as good as a look that comes later. */
inline wake_one(t, g)
{
    atomic {
        if
        :: sleepers[g] == 0
        :: else ->
            drain(t);
            if
            :: first_of(g, 0)
            :: first_of(g, 1)
#if THREADS > 2
            :: first_of(g, 2)
#endif
#if THREADS > 3
            :: first_of(g, 3)
#endif
            :: else
            fi
        fi
    }
}

inline wake_all(t, g)
{
    d_step {
        if
        :: sleepers[g] == 0
        :: else ->
            drain(t);
            asleep[0] = (asleep[0] == 1 + (g) -> 0 : asleep[0]);
            asleep[1] = (asleep[1] == 1 + (g) -> 0 : asleep[1]);
#if THREADS > 2
            asleep[2] = (asleep[2] == 1 + (g) -> 0 : asleep[2]);
#endif
#if THREADS > 3
            asleep[3] = (asleep[3] == 1 + (g) -> 0 : asleep[3])
#endif
        fi
    }
}

inline move_word(t)
{
    d_step { owner = 1 + t; late_word = 1; holders--; enders++ }
}

/* [D11] Mutant SLEEPERS_BEFORE_WORD: who still sees the turn taken falls asleep when its end has looked already. Mutant
 *       NO_FENCE: the same, while the word is in the store buffer.
 * Mutant WAKES_ONE: of this turn's sleepers. Mutant GROUPS_SWAPPED: the same, and all of the next turn's. Mutant
 * WAKES_THIS_TURN_ONLY: who sleeps for the next turn waits for one that takes it. */
#if defined(MEMBARRIER) || defined(NO_FENCE)
#define fence(t) skip
#else
#define fence(t) d_step { drain(t) }
#endif

inline end_turn(t)
{
    group = group_of(turn_of(word_seen(t)));
#ifndef SLEEPERS_BEFORE_WORD
    move_word(t);
    fence(t);
#endif
    somebody = sleepers[group] > 0;
    if
    :: somebody
    :: else -> somebody = sleepers[1 - group] > 0
    fi;
#ifdef SLEEPERS_BEFORE_WORD
    move_word(t);
    fence(t);
#endif
    if
    :: somebody ->
#if defined(GROUPS_SWAPPED)
        wake_one(t, group);
        wake_all(t, 1 - group)
#elif defined(WAKES_ONE)
        wake_one(t, 1 - group);
        wake_one(t, group)
#elif defined(WAKES_THIS_TURN_ONLY)
        wake_all(t, group)
#else
        wake_one(t, 1 - group);
        wake_all(t, group)
#endif
    :: else
    fi;
    d_step { enders--; somebody = 0; group = 0; assert(holders + enders > 0 || !oversleeps) }
}

/* ---- threads ---------------------------------------------------------------------------------------------------- */

/* What was committed when it looked becomes served. */
inline say_whom(t) { d_step { owner = 1 + t; late_value = committed; late_will = 1 } }
inline serve(t) { d_step { owner = 1 + t; late_served = 1 } }
inline say_nothing_and_serve(t) { d_step { owner = 1 + t; late_value = committed; late_served = 1 } }

/* Mutant ALL_FOR_THE_NEXT: whoever is served by the turn sleeps on after it. */
#ifdef ALL_FOR_THE_NEXT
#define is_served(t) false
#else
#define is_served(t) (will_serve >= upto[t])
#endif

proctype waiter(byte t)
{
    byte rounds = 0;
    byte seen = 0;
    byte group = 0;
    mtype role = FOR_A_TURN;
    bit slept = 0;
    bit woken = 0;
    bit here = 0;
    bit done = 0;
    bit somebody = 0;
#ifdef IMPATIENT
    bit over = 0;
#endif
#ifdef MEMBARRIER
    byte moments = 0;
#endif

    /* They are all alike: it does not matter which of them is the first to append. */
    committed >= t;
append:
    atomic { drain(t); committed++; upto[t] = committed; rounds++ };

again:
    atomic { seen = 0; group = 0; role = FOR_A_TURN; woken = 0; here = 0; done = 0 };
    if
    :: served_seen(t) >= upto[t] || failed -> goto leave
#ifdef IMPATIENT
    :: d_step { slept && !over && limits > 0 -> limits-- }; goto leave
    :: over -> goto leave
#endif
    :: served_seen(t) < upto[t] && !failed && !over
    fi;

    seen = word_seen(t);
    if
    :: standing_of(seen) == OPEN -> goto take_now
    :: standing_of(seen) == OPEN ->
        replace(t, GATHERING);
        if
        :: done -> d_step { done = 0; role = GATHERER; group = group_of(turn_of(seen)) }
        :: else -> slept = 1; goto again
        fi
    :: standing_of(seen) == GATHERING -> d_step { role = BESIDE; group = group_of(turn_of(seen)) }
    :: standing_of(seen) == TAKEN ->
        group = group_of(is_served(t) -> turn_of(seen) : turn_of(seen) + 1)
    fi;

go_to_sleep:
    slept = 1;
#ifdef SPINS /* mutant: who does not fall asleep may try again for ever */
    if :: role != GATHERER -> goto again :: role == GATHERER fi;
#endif
    sleep(t);
    if
    :: role == GATHERER && woken -> woken = 0; goto go_to_sleep
    :: role == GATHERER && !woken
    :: role == BESIDE && here
    :: role == BESIDE && !here || role == FOR_A_TURN -> goto again
    fi;

take_now:
    atomic { group = 0; woken = 0; here = 0; role = FOR_A_TURN };
    take(t);
    if
    :: done -> slept = 0; done = 0
    :: else -> slept = 1; goto again
    fi;

    if
    :: !failed ->
        say_whom(t);
        if
        :: serve(t)
#ifdef FAILURE
        :: d_step { drain(t); failed = 1 }
#endif
        fi
    :: failed
    fi;
    end_turn(t);
    goto again;

    /* It may be the one that was woken to take the turn.
     * Mutant NOT_PASSED_ON: then nobody takes it. */
leave:
    if
    :: slept -> seen = word_seen(t)
    :: else -> goto left
    fi;
#ifndef NOT_PASSED_ON
    if
    :: standing_of(seen) == OPEN -> group = group_of(turn_of(seen)); wake_one(t, group)
    :: else
    fi;
#endif
left:
    atomic {
        seen = 0;
        slept = 0;
        group = 0;
#ifdef IMPATIENT
        over = 0
#endif
    };
    if
    :: rounds < ROUNDS -> goto append
    :: else
    fi;
    d_step { rounds = 0; upto[t] = 0 }
}

#if OVERTAKES > 0
proctype overtaker(byte t)
{
    byte turns = 0;
    byte seen = 0;
    byte group = 0;
    mtype role = FOR_A_TURN;
    bit woken = 0;
    bit here = 0;
    bit done = 0;
    bit somebody = 0;
#ifdef IMPATIENT
    bit over = 0;
#endif
#ifdef MEMBARRIER
    byte moments = 0;
#endif

    upto[t] = EVERYBODY;

again:
    atomic { seen = 0; group = 0; woken = 0; done = 0 };
    if
    :: turns == OVERTAKES -> goto gone
    :: turns < OVERTAKES -> seen = word_seen(t)
    fi;
    if
    :: standing_of(seen) != TAKEN -> take(t)
    :: standing_of(seen) == TAKEN
    fi;
    if
    :: done -> done = 0
    :: !done -> turns++; goto again /* try_begin() */
    :: !done ->
        seen = word_seen(t);
        if
        :: standing_of(seen) == TAKEN -> group = group_of(turn_of(seen) + 1); sleep(t)
        :: standing_of(seen) != TAKEN
        fi;
        goto again
    fi;

    if
    :: say_nothing_and_serve(t)
    :: true
    fi;
    end_turn(t);
    turns++;
    goto again;

gone:
    atomic { turns = 0; upto[t] = 0 }
}
#endif

init
{
    atomic {
        run waiter(0);
        run waiter(1);
#if WAITERS > 2
        run waiter(2);
#endif
#if OVERTAKES > 0
        run overtaker(OVERTAKER)
#endif
    }
}
