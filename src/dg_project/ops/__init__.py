"""Operations on images, features and weights shared by several methods."""
