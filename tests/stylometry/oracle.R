# The published formulas once more, in base R, on five real books: the table in oracle.csv.
#
#   Rscript tests/stylometry/oracle.R CORPUS_FOLDER > tests/stylometry/oracle.csv
#
# (about 20 seconds; LC_ALL must be a UTF-8 locale such as C.UTF-8.)
#
# A book here is its characters U+4E00 to U+9FFF in order, nothing else. Only numbers are written.
# Written from the formulas, without a look at src/: Burrows (2002); Smith and Aldridge (2011);
# Koppel and Winter (2014); Craig and Kinney (2009); Eder et al. (2016); Lin (1991); Covington and
# McFall (2010); Yule (1944). Nothing is rescaled over more than the reference texts.

folder <- commandArgs(trailingOnly = TRUE)[1]
files <- c(sanxia = "wuxia/三俠五義.txt", ernv = "wuxia/兒女英雄傳.txt", lvmudan = "wuxia/綠牡丹.txt",
           fenzhuang = "wuxia/粉妝樓全傳.txt", honglou = "classic/紅樓夢.txt")

cat("quantity,value\n")
say <- function(what, value) cat(sprintf("%s,%.15g\n", what, value))

codes_of <- function(file) {
  bytes <- readBin(file, "raw", n = file.info(file)$size)
  codes <- utf8ToInt(iconv(list(bytes), "UTF-8", "UTF-8")[[1]])
  codes[codes >= 0x4E00 & codes <= 0x9FFF]
}
books <- lapply(file.path(folder, files), codes_of)
names(books) <- names(files)
for (name in names(books)) say(paste0("length:", name), length(books[[name]]))

# The 500 most frequent characters of all books together, ties by code point.
all_counts <- table(unlist(books))
ranked <- as.integer(names(all_counts))[order(-as.integer(all_counts), as.integer(names(all_counts)))]
features <- ranked[1:100]
for (i in seq_along(features)) say(paste0("feature:", i), features[i])

share <- function(codes, items) tabulate(match(codes, items), length(items)) / length(codes)
shares <- t(sapply(books, share, items = features))

zscores <- function(reference, rows) {
  m <- colMeans(reference)
  s <- apply(reference, 2, sd)
  keep <- s > 0
  sweep(sweep(rows[, keep, drop = FALSE], 2, m[keep]), 2, s[keep], "/")
}
burrows <- function(a, b) mean(abs(a - b))
cosine <- function(a, b) 1 - sum(a * b) / sqrt(sum(a^2) * sum(b^2))
minmax <- function(a, b) 1 - sum(pmin(a, b)) / sum(pmax(a, b))

# Delta of each book to the four others, which alone make the scale.
for (test in names(books)) {
  others <- setdiff(names(books), test)
  z <- zscores(shares[others, ], shares)
  for (other in others) {
    say(paste("burrows", test, other, sep = ":"), burrows(z[test, ], z[other, ]))
    say(paste("cosine", test, other, sep = ":"), cosine(z[test, ], z[other, ]))
  }
}

# General Imposters: the last 20,000 characters against the rest of the same book, and against the
# next book as a wrong candidate. 40 draws of half the features and half the others, by a rule.
half <- function(n, k, a) order((seq_len(n) * (7 * k + a) + k * k) %% 101, seq_len(n))[1:floor(n / 2 + 0.5)]
wins <- function(test, candidate, others, distance) {
  sum(sapply(1:40, function(k) {
    f <- half(ncol(others), k, 3)
    o <- half(nrow(others), k, 5)
    own <- distance(test[f], candidate[f])
    own < min(sapply(o, function(i) distance(test[f], others[i, f])))
  }))
}
for (b in seq_along(books)) {
  book <- books[[b]]
  tail_share <- share(tail(book, 20000), features)
  for (wrong in c(FALSE, TRUE)) {
    c_index <- if (wrong) b %% length(books) + 1 else b
    rest <- setdiff(seq_along(books), c_index)
    candidate <- share(if (wrong) books[[c_index]] else head(book, -20000), features)
    crowd <- shares[rest, ]
    if (wrong) crowd[match(b, rest), ] <- share(head(book, -20000), features)
    reference <- rbind(candidate, crowd)
    z <- zscores(reference, rbind(reference, tail_share))
    test <- z[nrow(z), ]
    label <- paste(if (wrong) "wrong" else "right", names(books)[b], sep = ":")
    others <- z[2:(nrow(z) - 1), ]
    say(paste("imposters:burrows", label, sep = ":"), wins(test, z[1, ], others, burrows))
    say(paste("imposters:cosine", label, sep = ":"), wins(test, z[1, ], others, cosine))
    say(paste("imposters:minmax", label, sep = ":"), wins(tail_share, candidate, crowd, minmax))
  }
}

# Zeta of the first book against the others, slices of 1,000 characters, characters of middling rank.
slices <- function(codes) {
  n <- length(codes) %/% 1000
  split(codes[1:(n * 1000)], rep(1:n, each = 1000))
}
ours <- slices(books[[1]])
theirs <- unlist(lapply(books[-1], slices), recursive = FALSE)
say("zeta:slices:author", length(ours))
say("zeta:slices:others", length(theirs))
for (rank in seq(150, 500, by = 10)) {
  p1 <- mean(sapply(ours, function(s) ranked[rank] %in% s))
  p2 <- mean(sapply(theirs, function(s) ranked[rank] %in% s))
  say(paste0("zeta:craig:", rank), p1 + (1 - p2))
  say(paste0("zeta:eder:", rank), (p1 - p2) / (p1 + p2))
}

# Components and tree of all five.
z <- zscores(shares, shares)
p <- prcomp(z, center = TRUE, scale. = FALSE)
for (k in 1:3) {
  say(paste0("pca:explained:", k), p$sdev[k]^2 / sum(p$sdev^2))
  for (name in names(books)) say(paste("pca:size", k, name, sep = ":"), abs(p$x[name, k]))
}
d <- dist(z, method = "manhattan") / ncol(z)
for (link in c("average", "complete", "single")) {
  h <- sort(hclust(d, link)$height)
  for (k in seq_along(h)) say(paste("tree", link, k, sep = ":"), h[k])
}

# Rolling Delta along the fifth book, the first four the scale.
z_of <- function(row) zscores(shares[1:4, ], rbind(shares[1:4, ], row))
for (begin in seq(0, 30000, by = 2500)) {
  z <- z_of(share(books[[5]][(begin + 1):(begin + 5000)], features))
  for (k in 1:4) say(paste("rolling", begin, names(books)[k], sep = ":"), burrows(z[5, ], z[k, ]))
}

# Divergence of the shares of the 100 characters, with a bin for all others.
jsd <- function(p, q) {
  m <- (p + q) / 2
  kl <- function(a) sum(ifelse(a > 0, a * log2(a / m), 0))
  (kl(p) + kl(q)) / 2
}
bins <- cbind(shares, 1 - rowSums(shares))
for (a in 1:4) for (b in (a + 1):5)
  say(paste("jsd", names(books)[a], names(books)[b], sep = ":"), jsd(bins[a, ], bins[b, ]))

# n-grams, richness: the first 20,000 characters.
grams <- function(codes, n) {
  last <- length(codes) - n + 1
  Reduce(function(sum, k) sum * 65536 + codes[k:(last + k - 1)], seq_len(n), 0)
}
for (name in names(books)) {
  begin <- head(books[[name]], 20000)
  other <- books[[match(name, names(books)) %% length(books) + 1]]
  for (n in 1:3) say(paste("overlap", n, name, sep = ":"), mean(grams(begin, n) %in% grams(other, n)))
  say(paste("distinct3", name, sep = ":"), length(unique(grams(begin, 3))) / 19998)
  windows <- sapply(1:(20000 - 500 + 1), function(i) length(unique(begin[i:(i + 499)])))
  say(paste("mattr", name, sep = ":"), mean(windows) / 500)
  counts <- as.numeric(table(begin))
  say(paste("hdd", name, sep = ":"), sum(1 - dhyper(0, counts, 20000 - counts, 500)) / 500)
  say(paste("yule", name, sep = ":"), 1e4 * (sum(counts^2) - 20000) / 20000^2)
}
