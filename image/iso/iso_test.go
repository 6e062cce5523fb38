package iso_test

import "time"

var noon = time.Date(2001, 2, 3, 12, 34, 56, 780_000_000, time.UTC)
