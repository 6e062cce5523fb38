package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// Exit codes. docs/cli.md has the same table.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNetwork     = 3
	exitIntegrity   = 4
	exitNotFound    = 5
	exitStale       = 6
	exitLimit       = 7
	exitInterrupted = 130
)

// gcPercent makes the garbage collector run more often than it would, unless
// GOGC says otherwise: the windows of the decoders come and go in few large
// pieces, and collecting them early costs no measurable time.
const gcPercent = 25

// errInterrupted is the cause of a context that a signal has ended.
var errInterrupted = errors.New("interrupted")

// doubled is how long signals after the first count for nothing.
const doubled = 500 * time.Millisecond

// run is the whole program; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	// A broken pipe is a failed write, so that nothing half-written stays.
	signal.Ignore(unix.SIGPIPE)
	ending := []os.Signal{unix.SIGTERM}
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGHUP} {
		if !signal.Ignored(s) { // as under nohup
			ending = append(ending, s)
		}
	}
	signals, stop := signal.NotifyContext(ctx, ending...)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	context.AfterFunc(signals, func() {
		cancel(errInterrupted)
		// A second signal kills, unless it is the same once more: timeout(1) signals
		// the process and its group.
		time.AfterFunc(doubled, stop)
	})
	results := &results{w: stdout}
	a := &app{stdout: results, stderr: stderr}
	root := a.command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if a.profiled != nil {
		err = cmp.Or(err, a.profiled())
	}
	if err == nil {
		err = results.err
	}
	if err == nil {
		return exitOK
	}
	if errors.Is(context.Cause(ctx), errInterrupted) {
		err = errInterrupted
	}
	text, hint, code := explain(err)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, " ") { // else it is an excerpt
			line = "thaw: " + line
		}
		fmt.Fprintln(stderr, line)
	}
	for line := range strings.Lines(hint) {
		fmt.Fprintf(stderr, "      %s\n", strings.TrimSuffix(line, "\n"))
	}
	return code
}

// results is standard output, which remembers that a result was lost.
type results struct {
	w   io.Writer
	err error
}

func (r *results) Write(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.w.Write(p)
	if err != nil {
		r.err = fmt.Errorf("standard output: %w", err)
	}
	return n, r.err
}

// app is one run of the program.
type app struct {
	stdout *results
	stderr io.Writer
	global global

	profiled func() error // writes the profiles of this run; nil without --profile
}

// usageError is a mistake in the command line.
type usageError struct{ text, hint string }

func (e *usageError) Error() string { return e.text }

func usage(hint, format string, a ...any) error {
	return &usageError{fmt.Sprintf(format, a...), hint}
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "thaw",
		Short: "Turn Nix store paths into disk images, without Nix",
		Long: `thaw fetches store paths and all they refer to from Nix binary caches, checks
their signatures, and writes them into a disk image, a container image, an
archive or a directory. Building needs no Nix, no root and no other program, and
gives the same bytes every time.`,
		Example: `  thaw build --cache testdata/example --trusted-key testdata/example/key.pub -o hello.img \
      /nix/store/iv6mnmnw8z16ca4yawz70zfapazdfyvq-hello-static-1.0
  thaw closure --size /nix/store/…-hello-2.12.1`,
		Version:           version(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDescriptions: true},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("thaw help lists the commands", "unknown command %q%s", args[0], similar(cmd, args[0]))
			}
			return nil
		},
		PersistentPreRunE: func(cmd *cobra.Command, args []string) (err error) {
			if a.global.profile != "" {
				a.profiled, err = startProfile(a.global.profile)
			}
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	root.SuggestionsMinimumDistance = 2
	root.SetVersionTemplate("thaw {{.Version}}\n")
	root.SetUsageFunc(plainUsage(root.UsageFunc()))
	root.SetHelpCommand(help(root))
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(optionError)
	root.AddGroup(
		&cobra.Group{ID: "make", Title: "Make:"},
		&cobra.Group{ID: "ask", Title: "Ask:"},
		&cobra.Group{ID: "carry", Title: "Carry:"},
		&cobra.Group{ID: "care", Title: "Care:"},
	)
	root.SetHelpCommandGroupID("care")
	root.SetCompletionCommandGroupID("care")
	a.global.flags(root.PersistentFlags())
	root.AddCommand(a.build(), a.unpack(), a.init(), a.check(), a.lock(), a.plan(), a.closure(), a.resolveNames(), a.spec(), a.push(), a.write(), a.run(), a.cache(), a.config(), a.version())
	return root
}

func similar(cmd *cobra.Command, name string) string {
	if s := cmd.SuggestionsFor(name); len(s) > 0 {
		return fmt.Sprintf(" (did you mean %q?)", s[0])
	}
	return ""
}

// help is the help verb. Unlike cobra's, it refuses what it does not know.
func help(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:     "help [VERB]",
		Short:   "Describe a verb",
		Long:    "Describe a verb, or list all.",
		Example: "  thaw help build",
		GroupID: "care",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usage("thaw help lists the commands", "unknown command %q%s", strings.Join(args, " "), similar(root, args[0]))
			}
			return about.Help()
		},
	}
}

// plainUsage is cobra's usage text without the values that switches can have.
func plainUsage(cobras func(*cobra.Command) error) func(*cobra.Command) error {
	const values = "[=true|false]"
	return func(cmd *cobra.Command) error {
		var b strings.Builder
		out := cmd.OutOrStderr()
		cmd.SetOut(&b)
		err := cobras(cmd)
		cmd.SetOut(out)
		if err != nil {
			return err
		}
		_, err = io.WriteString(out, strings.ReplaceAll(b.String(), values, strings.Repeat(" ", len(values))))
		return err
	}
}
