"""S3 behind `suasion.storage`: a client that tries again, what its errors mean, whole objects in parts."""
