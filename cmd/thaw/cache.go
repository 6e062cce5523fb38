package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"thaw/config"
	"thaw/internal/decompress"
	"thaw/narinfo"
	"thaw/spec"
	"thaw/storepath"
	"thaw/substituter"
)

func (a *app) cache() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "cache",
		Short:   "Look after the local cache, and examine others",
		Long:    "Look after the directory in which fetched objects are kept (--cache-dir), and examine binary caches.",
		Example: "  thaw cache ls\n  thaw cache gc --max-size 10G",
		GroupID: "care",
		Args:    subcommands,
		RunE:    func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.cacheList(), a.cacheGC(), a.cacheVerify(), a.cacheDoctor())
	return cmd
}

// local opens the local cache alone.
func (a *app) local() (*ui, *source, error) {
	ui, err := a.ui()
	if err != nil {
		return nil, nil, err
	}
	if a.global.noCache {
		return nil, nil, usage("", "--no-cache leaves no cache to look after")
	}
	if dir := a.global.effective.CacheDir; !exists(dir) {
		return nil, nil, usage("a run that fetches something makes it", "there is no cache at %s", dir)
	}
	src, err := a.global.open(ui.events())
	return ui, src, err
}

func (a *app) cacheList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List what the local cache has",
		Long: `List what the local cache has, sorted by path: the path, the bytes of its NAR, and
when a run last wanted it, separated by tabs.`,
		Example: "  thaw cache ls",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			_, src, err := a.local()
			if err != nil {
				return err
			}
			stored, _, err := src.Stored()
			if err != nil {
				return err
			}
			type object struct {
				Path    string `json:"path"`
				NarSize int64  `json:"narSize"`
				Used    string `json:"used,omitempty"`
			}
			list := []object{}
			for _, s := range stored {
				o := object{s.Info.StorePath.String(), s.Info.NarSize, ""}
				if !s.Used.IsZero() {
					o.Used = s.Used.UTC().Format(time.RFC3339)
				}
				list = append(list, o)
			}
			if asJSON {
				return json.NewEncoder(a.stdout).Encode(list)
			}
			out := bufio.NewWriter(a.stdout)
			for _, o := range list {
				fmt.Fprintf(out, "%s\t%d\t%s\n", o.Path, o.NarSize, o.Used)
			}
			return out.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	return cmd
}

func (a *app) cacheGC() *cobra.Command {
	var maxSize, maxAge string
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Make the local cache smaller",
		Long: `Remove objects from the local cache until it has at most --max-size bytes and no
object that no run has wanted for longer than --max-age: those unused for longest
go first. What other runs are fetching stays.`,
		Example: "  thaw cache gc --max-size 10G --max-age 30d",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			var b substituter.Bounds
			var err error
			if maxSize == "" && maxAge == "" {
				return usage("for example --max-size 10G or --max-age 30d", "which objects? Give a bound")
			}
			if maxSize != "" {
				size, err := spec.ParseSize(maxSize)
				if err != nil || size.Kind != spec.Fixed {
					return usage("write 500M or 10G; B, K, M, G and T are powers of 1024", "--max-size %s is not a size", maxSize)
				}
				b.Size = size.Bytes
			}
			if maxAge != "" {
				if b.Age, err = parseAge(maxAge); err != nil {
					return usage("write 12h or 30d", "--max-age %s is not a time", maxAge)
				}
			}
			_, src, err := a.local()
			if err != nil {
				return err
			}
			gone, kept, err := src.GC(b)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "removed\t%d\t%d\nkept\t%d\t%d\n", gone.Objects, gone.Bytes, kept.Objects, kept.Bytes)
			return err
		},
	}
	cmd.Flags().StringVar(&maxSize, "max-size", "", "how many bytes may stay: a `SIZE` such as 10G")
	cmd.Flags().StringVar(&maxAge, "max-age", "", "how long an object may stay unused: a `TIME` such as 30d")
	return cmd
}

// parseAge reads a time with a unit: those of Go, and d for days.
func parseAge(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if n == 0 {
			err = strconv.ErrRange
		}
		return time.Duration(n) * 24 * time.Hour, err
	}
	d, err := time.ParseDuration(s)
	if err == nil && d <= 0 {
		err = fmt.Errorf("not positive")
	}
	return d, err
}

// problemsError says that something was found and has been printed.
type problemsError struct{ objects int }

func (e *problemsError) Error() string {
	if e.objects == 1 {
		return "1 object has problems"
	}
	return fmt.Sprintf("%d objects have problems", e.objects)
}

func (a *app) cacheVerify() *cobra.Command {
	var repair bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Hash everything in the local cache",
		Long: `Read and hash every object in the local cache. Those that are damaged are listed, with
what is wrong, separated by a tab; then the exit code is 4. With --remove they are
removed, to be fetched again when they are wanted.

This is not needed for safety: a run verifies all that it uses.`,
		Example: "  thaw cache verify --remove",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			ui, src, err := a.local()
			if err != nil {
				return err
			}
			defer ui.close()
			stored, broken, err := src.Stored()
			if err != nil {
				return err
			}
			bad := len(broken)
			for _, file := range broken {
				fmt.Fprintf(a.stdout, "%s\tnot a narinfo\n", file)
				if repair {
					if err := os.Remove(file); err != nil {
						return err
					}
				}
			}
			for _, s := range stored {
				err := src.Check(cmd.Context(), s)
				if cmd.Context().Err() != nil {
					return context.Cause(cmd.Context())
				}
				if err == nil {
					continue
				}
				bad++
				fmt.Fprintf(a.stdout, "%s\t%v\n", s.Info.StorePath, err)
				if repair {
					if err := src.Evict(s.Info.StorePath); err != nil {
						return err
					}
				}
			}
			ui.step("verifying", "%s, %d damaged", count(len(stored)+len(broken), "object"), bad)
			if bad > 0 && !repair {
				return &problemsError{bad}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&repair, "remove", false, "remove what is damaged")
	return cmd
}

func (a *app) cacheDoctor() *cobra.Command {
	var contents bool
	cmd := &cobra.Command{
		Use:   "doctor URL [PATH…]",
		Short: "Find out what is wrong with a binary cache",
		Long: `Examine what a binary cache says and has of store paths: narinfos that are missing,
malformed, about another path, or signed by nobody trusted; NARs that are missing
or of another length. With --contents, NARs are also downloaded and hashed.

The paths are arguments, or - to read them from standard input, one a line; for a
cache in a directory without any, all that it has. Each problem is a line: the path
and what is wrong, separated by a tab. Any problem makes the exit code 4.`,
		Example: "  thaw cache doctor testdata/example --trusted-key testdata/example/key.pub --contents\n  thaw closure PATH | thaw cache doctor https://cache.example.org -",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("thaw cache doctor --help shows an example", "which cache? Give its URL")
			}
			if len(a.global.caches) > 0 {
				return usage("", "doctor examines the cache given as its argument; --cache has no place here")
			}
			a.global.caches = args[:1]
			ui, err := a.ui()
			if err != nil {
				return err
			}
			defer ui.close()
			list, _, err := a.global.remotes(ui.events())
			if err != nil {
				return err
			}
			paths, strays, err := doctorPaths(cmd.InOrStdin(), args)
			if err != nil {
				return err
			}
			depth := substituter.Headers
			if contents {
				depth = substituter.Contents
			}
			return a.examine(cmd.Context(), ui, list.Caches[0], paths, strays, depth)
		},
	}
	cmd.Flags().BoolVar(&contents, "contents", false, "download and hash every NAR")
	return cmd
}

// examine examines paths side by side, and prints problems in their order. strays are
// files that narinfos should not be called like.
func (a *app) examine(ctx context.Context, ui *ui, r *substituter.Remote, paths []storepath.Path, strays []string, depth substituter.Depth) error {
	if _, err := r.Describe(ctx); err != nil {
		return err
	}
	var (
		g       errgroup.Group
		mu      sync.Mutex
		found   = make([][]string, len(paths))
		trouble error
		budget  = decompress.NewBudget(a.global.jobs)
	)
	g.SetLimit(a.global.connections)
	if depth == substituter.Contents {
		g.SetLimit(a.global.jobs)
	}
	for i, p := range paths {
		g.Go(func() error {
			problems, err := r.Examine(ctx, p, depth, budget)
			mu.Lock()
			defer mu.Unlock()
			found[i] = problems
			if err != nil && trouble == nil {
				trouble = err
			}
			return nil
		})
	}
	g.Wait()
	bad := len(strays)
	for _, f := range strays {
		fmt.Fprintf(a.stdout, "%s\tis not named as a narinfo is\n", f)
	}
	for i, problems := range found {
		for _, text := range problems {
			fmt.Fprintf(a.stdout, "%s\t%s\n", paths[i], text)
		}
		bad += min(len(problems), 1)
	}
	if trouble != nil {
		return trouble
	}
	ui.step("examined", "%s of %s, %d with problems", count(len(paths), "path"), r, bad)
	if bad > 0 {
		return &problemsError{bad}
	}
	return nil
}

// doctorPaths returns the paths to examine, and the files of a directory that end like
// narinfos and are not named like them.
func doctorPaths(stdin io.Reader, args []string) (paths []storepath.Path, strays []string, err error) {
	texts := args[1:]
	if len(texts) == 1 && texts[0] == "-" {
		all, err := io.ReadAll(io.LimitReader(stdin, 64<<20))
		if err != nil {
			return nil, nil, err
		}
		texts = strings.Fields(string(all))
	}
	if len(texts) > 0 {
		paths, err = storePaths(texts, "cache doctor")
		return paths, nil, err
	}
	dir, ok := cacheDir(args[0])
	if !ok {
		return nil, nil, usage("give some, or - to read them from standard input", "which paths of %s? It cannot list them", config.Redacted(args[0]))
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.narinfo"))
	if err != nil || len(files) == 0 {
		return nil, nil, usage("", "there are no narinfos in %s", dir)
	}
	for _, f := range files {
		hash := strings.TrimSuffix(filepath.Base(f), ".narinfo")
		p, err := storepath.New(hash, "unknown")
		if err != nil {
			strays = append(strays, f)
			continue
		}
		if st, err := os.Stat(f); err == nil && st.Mode().IsRegular() && st.Size() <= narinfo.MaxSize {
			if text, err := os.ReadFile(f); err == nil {
				p = named(text, p)
			}
		}
		paths = append(paths, p)
	}
	return paths, strays, nil
}

// named gives p the name that a narinfo has for it, if it is readable.
func named(text []byte, p storepath.Path) storepath.Path {
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(line, "StorePath: "); ok {
			if q, err := storepath.Parse(strings.TrimSpace(path)); err == nil && q.Hash() == p.Hash() {
				return q
			}
		}
	}
	return p
}
